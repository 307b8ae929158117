import { CodedError } from '../errors/coded-error.ts';

const NAME = /^[0-9a-f]{64}$/;
/** The blobs of owners stand here, each owner's in a place of its own. */
export const OWNERS = 'jobs';

/** What was stored. */
export interface Stored {
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Content-addressed blobs: the name of a blob is its SHA-256, so that a reader need not trust the storage or
 * the writer. Any number of processes may read and write at once. Every call throws CodedErrors
 * `storage_full` and `storage_unavailable` where the storage takes or says nothing now.
 *
 * What belongs to one job stands in the store `of` that job, and goes with it: two jobs with the same input
 * have it twice, so that removing the one can never take it from the other.
 */
export abstract class BlobStore {
  /** The folder, or the address in S3. */
  abstract readonly place: string;

  /** Stores the bytes and returns their digest (64 hexadecimal digits) once they are durable. */
  abstract put(bytes: Uint8Array): Promise<string>;

  /**
   * Returns the bytes of a blob, checked against its name. Throws CodedError `blob_missing` where it is
   * absent, damaged, or larger than `maxBytes`.
   */
  abstract get(digest: string, maxBytes: number): Promise<Buffer>;

  /**
   * Stores what the source yields, up to `maxBytes`, with one piece in memory at a time. Returns the digest
   * and the length once the blob is durable. Throws CodedError `body_too_large`, or what the source throws;
   * nothing is stored then.
   */
  abstract putStream(source: AsyncIterable<Uint8Array | string>, maxBytes: number): Promise<Stored>;

  /**
   * Yields the bytes of a blob, a piece at a time. Throws CodedError `blob_missing`; where the digest does
   * not match, it throws after the last piece.
   */
  abstract read(digest: string): AsyncGenerator<Buffer>;

  /** Renews the age of a blob, so that `removeOld` spares it. Returns whether the blob exists. */
  abstract touch(digest: string): Promise<boolean>;

  /**
   * Removes a blob, unless it was stored or touched within `freshMs`: then somebody may be about to use it.
   * Returns whether it is gone.
   */
  abstract removeUnlessFresh(digest: string, freshMs: number): Promise<boolean>;

  /** The store of an owner, whose id is made of letters, digits and underscores. */
  abstract of(owner: string): BlobStore;

  /** Removes everything here, whatever its age. */
  abstract remove(): Promise<void>;

  /** Removes blobs that were neither stored nor touched for `ageMs`, of owners as well; returns how many. */
  abstract removeOld(ageMs: number): Promise<number>;

  /** Throws where nothing of so many bytes could be stored now. */
  abstract probe(roomBytes: number): Promise<void>;
}

/** Whether this can be the name of a blob. */
export const isBlobName = (digest: string): boolean => NAME.test(digest);

/** Throws CodedError `blob_missing` where this cannot be the name of a blob. */
export function requireName(digest: string): void {
  if (!isBlobName(digest)) throw new CodedError('blob_missing', 'That is not the name of a stored object.');
}

/** Where the blobs of an owner stand, below those of nobody. Throws where this is no id. */
export function ownersPath(owner: string): [string, string, string] {
  if (!/^\w{2,64}$/.test(owner)) throw new Error('That is not the id of an owner of blobs.');
  return [OWNERS, owner.slice(-2), owner];
}
