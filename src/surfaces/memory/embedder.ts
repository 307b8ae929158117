import { createHash } from 'node:crypto';
import { EmbedEngine } from '../../core/engines/embed-engine.ts';
import { runToEnd } from '../../core/engines/engine.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { Vector } from './segment.ts';

/** Makes vectors of texts. Vectors are compared only with those of the same embedder. */
export interface Embedder {
  /** One vector for each text, in their order. Throws EngineError. */
  embed(texts: readonly string[]): Promise<Vector[]>;
}

const PARAMS = { max_tokens: 1, temperature: 0, top_p: 1, seed: 0, stop: [] };
/** The model takes no longer text; what stands behind is found by its words only. */
const MAX_CHARS = 16_384;
/** Texts of one call to the engine. */
const AT_ONCE = 64;

/** The sentence embeddings that come with the program, computed in this process. They know English only. */
export class OwnEmbedder implements Embedder {
  #engine: Promise<EmbedEngine> | undefined;

  async embed(texts: readonly string[]): Promise<Vector[]> {
    // Loaded at the first text: many owners are only listed.
    this.#engine ??= EmbedEngine.load({ name: 'memory', sha256: EmbedEngine.weightsDigest() });
    const engine = await this.#engine;
    const vectors: Vector[] = [];
    const embedder = createHash('sha256')
      .update(`${engine.identity.name}\0${engine.identity.version}\0${engine.identity.sha256}\0${engine.model.sha256}`)
      .digest('hex');
    for (let at = 0; at < texts.length; at += AT_ONCE) {
      const input = { texts: texts.slice(at, at + AT_ONCE).map((text) => text.slice(0, MAX_CHARS)) };
      const work = { task: 'embedding' as const, params: PARAMS };
      const { output } = await runToEnd(engine, work, input, AbortSignal.timeout(600_000));
      const { embeddings } = OUTPUTS.embedding.parse(JSON.parse(output));
      vectors.push(...embeddings.map((numbers) => ({ embedder, values: ofLengthOne(numbers) })));
    }
    return vectors;
  }
}

/** The vector at length 1, so that a product is the cosine; one without length stays as it is. */
export function ofLengthOne(numbers: readonly number[]): Float32Array {
  const length = Math.hypot(...numbers) || 1;
  return Float32Array.from(numbers, (number) => number / length);
}
