import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { Uploaded } from '../remote/wire.ts';
import type { UploadParts } from './upload-parts.ts';

/** An attempt hands in its output and its token ids. */
const MOST_BLOBS = 4;
const MOST_REMEMBERED = 10_000;

/** One part of a blob of an attempt. */
export interface Part {
  readonly job: string;
  readonly epoch: number;
  readonly sha256: string;
  readonly offset: number;
  readonly total: number;
  readonly bytes: Uint8Array;
}

/**
 * Blobs that workers hand in by parts. What came is kept beside the blobs of the pool, where every gateway of
 * the pool finds it; what is left of a lease that ran out goes with its age.
 */
export class Uploads {
  readonly #parts: UploadParts;
  readonly #blobs: BlobStore;
  /** How many blobs each attempt has handed in here. */
  readonly #stored = new Map<string, Set<string>>();

  constructor(parts: UploadParts, blobs: BlobStore) {
    this.#parts = parts;
    this.#blobs = blobs;
  }

  /**
   * Keeps a part where it goes on from what came before, and stores the blob with its last part. Returns how
   * much there is: the next part begins there. Throws CodedError `request_invalid` where the blob is too
   * large or is one too many, `upload_differs` where its digest is another, or as the storage does.
   */
  async take({ job, epoch, sha256, offset, total, bytes }: Part): Promise<Uploaded> {
    if (total > MAX_OUTPUT_BYTES || offset + bytes.length > total)
      throw new CodedError('request_invalid', `A blob has at most ${MAX_OUTPUT_BYTES} bytes, and its parts no more.`);
    const blobs = this.#blobs.of(job);
    if (await blobs.touch(sha256)) return { bytes: total, whole: true };
    this.#requireRoom(job, epoch, sha256);
    const name = `${job}-${epoch}-${sha256}`;
    const size = await this.#parts.add(name, offset, bytes);
    if (size < total) return { bytes: size, whole: false };
    const whole = await this.#parts.whole(name);
    await this.#parts.remove(name);
    if (whole.length !== total || sha256Hex(whole) !== sha256)
      throw new CodedError('upload_differs', 'The digest of what was uploaded is not the one of the address.');
    await blobs.put(whole);
    return { bytes: total, whole: true };
  }

  /** Whoever holds a lease fills no disk with it. */
  #requireRoom(job: string, epoch: number, sha256: string): void {
    const attempt = `${job}-${epoch}`;
    const known = this.#stored.get(attempt) ?? new Set();
    if (known.size >= MOST_BLOBS && !known.has(sha256))
      throw new CodedError('request_invalid', `An attempt hands in at most ${MOST_BLOBS} blobs.`);
    this.#stored.delete(attempt);
    this.#stored.set(attempt, known.add(sha256));
    const [oldest] = this.#stored.keys();
    if (this.#stored.size > MOST_REMEMBERED && oldest !== undefined) this.#stored.delete(oldest);
  }
}
