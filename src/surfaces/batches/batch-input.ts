import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { isLineError, linesOf, readLine, type BatchLine } from './batch-line.ts';
import type { BatchRecord } from './batch.store.ts';

/** A line of the input that can be read. */
export interface InputLine {
  readonly number: number;
  readonly line: BatchLine;
  readonly bytes: number;
}

/** The input file of a batch, read from the disk as its lines are asked for. */
export class BatchInput {
  readonly #blobs: BlobStore;
  readonly #batch: BatchRecord;
  #total = 0;

  constructor(blobs: BlobStore, batch: BatchRecord) {
    this.#blobs = blobs;
    this.#batch = batch;
  }

  /** The number of the last line that was read. */
  get total(): number {
    return this.#total;
  }

  /** The bytes of every line; `undefined` is one that is too long. Throws CodedError `blob_missing`. */
  raw(): AsyncIterable<Buffer | undefined> {
    return linesOf(this.#blobs.read(this.#batch.inputSha256));
  }

  /** The lines of the input, each with its number. Throws CodedError `blob_missing`. */
  async *lines(): AsyncGenerator<InputLine, undefined> {
    let number = 0;
    for await (const bytes of this.raw()) {
      number += 1;
      this.#total = Math.max(this.#total, number);
      const line = bytes === undefined ? undefined : readLine(bytes, number, this.#batch.endpoint);
      if (line !== undefined && !isLineError(line)) yield { number, line, bytes: bytes?.length ?? 0 };
    }
    return undefined;
  }
}
