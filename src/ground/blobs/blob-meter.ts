import { createHash } from 'node:crypto';
import { CodedError } from '../errors/coded-error.ts';
import type { Stored } from './blob-store.ts';

/** Counts and hashes what is stored, while it passes. */
export class BlobMeter {
  readonly #hash = createHash('sha256');
  readonly #most: number;
  #bytes = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Yields the pieces as they come. Throws CodedError `body_too_large` once they are too many bytes. */
  async *through(source: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
    for await (const piece of source) {
      const chunk = typeof piece === 'string' ? Buffer.from(piece) : piece;
      this.#bytes += chunk.length;
      if (this.#bytes > this.#most)
        throw new CodedError('body_too_large', `More than ${this.#most} bytes came, which is the most for one object.`);
      this.#hash.update(chunk);
      yield chunk;
    }
  }

  /** What has passed, to be asked once and at the end. */
  stored(): Stored {
    return { sha256: this.#hash.digest('hex'), bytes: this.#bytes };
  }
}
