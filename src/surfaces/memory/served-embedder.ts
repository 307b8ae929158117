import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { ofLengthOne, type Embedder } from './embedder.ts';
import type { Vector } from './segment.ts';

const ANSWER_MS = 60_000;
/** Texts of one request. */
const AT_ONCE = 64;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

const Answer = z.object({
  data: z.array(z.object({ index: z.int().min(0), embedding: z.array(z.number()).min(1).max(8_192) })),
});

/** A server that embeds by the API of OpenAI. */
export interface EmbeddingServer {
  /** Its base, such as `https://embed.example/v1`. */
  readonly url: string;
  readonly model: string;
  /** Sent as a bearer token. */
  readonly key: string | undefined;
}

/**
 * Vectors of a server with OpenAI's embeddings API. What the server calls its model is all that is known of
 * it.
 */
export class ServedEmbedder implements Embedder {
  readonly #server: EmbeddingServer;

  constructor(server: EmbeddingServer) {
    this.#server = server;
  }

  /** Throws CodedError `memory_unavailable` where the server does not answer as it should. */
  async embed(texts: readonly string[]): Promise<Vector[]> {
    const vectors: Vector[] = [];
    for (let at = 0; at < texts.length; at += AT_ONCE)
      vectors.push(...(await this.#page(texts.slice(at, at + AT_ONCE))));
    return vectors;
  }

  async #page(input: readonly string[]): Promise<Vector[]> {
    const { url, model, key } = this.#server;
    try {
      const response = await fetch(`${url}/embeddings`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify({ model, input, encoding_format: 'float' }),
        signal: AbortSignal.timeout(ANSWER_MS),
        redirect: 'error',
      });
      const bytes = await readBounded(response, MAX_ANSWER_BYTES);
      if (!response.ok || bytes === undefined) throw new Error(`it answered ${response.status}`);
      const { data } = Answer.parse(JSON.parse(bytes.toString('utf8')));
      const numbers = input.map((_, place) => data.find(({ index }) => index === place)?.embedding);
      const [length = 0] = numbers.map((one) => one?.length);
      // Vectors of another length are another model's, under whatever name.
      const embedder = sha256Hex(canonicalJson({ url, model, dimensions: length }));
      return numbers.map((one) => {
        if (one?.length !== length) throw new Error('it answered other vectors than were asked for');
        return { embedder, values: ofLengthOne(one) };
      });
    } catch (cause) {
      throw new CodedError('memory_unavailable', 'The server that embeds memories does not answer; try again.', {
        cause,
        headers: { 'retry-after': '1' },
      });
    }
  }
}
