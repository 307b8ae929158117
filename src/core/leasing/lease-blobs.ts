import type { Redis } from 'ioredis';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { Uploaded } from '../remote/wire.ts';
import type { Held, Leases } from './leases.ts';
import type { Part, Uploads } from './uploads.ts';

interface BlobParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly leases: Leases;
  readonly blobs: BlobStore;
  readonly uploads: Uploads;
}

/**
 * The blobs of leases: a worker reads the input of the job that it holds, and hands in what it made of it.
 */
export class LeaseBlobs {
  readonly #parts: BlobParts;

  constructor(parts: BlobParts) {
    this.#parts = parts;
  }

  /**
   * The input of a job that the worker holds, and no other blob of it: what other workers handed in is not
   * for it. Throws CodedError `lease_lost`, or `blob_missing`.
   */
  async input(worker: string, held: Held, sha256: string): Promise<Buffer> {
    const { redis, keys, leases, blobs } = this.#parts;
    await leases.requireHeld(worker, held);
    const stored = await redis.hget(keys.ticket(held.job), 'ticket');
    const wanted = stored === null ? undefined : readTicket(held.job, stored).ticket.subject[0].digest.sha256;
    if (wanted !== sha256) throw new CodedError('lease_lost', 'That is not the input of the job of this lease.');
    return blobs.of(held.job).get(sha256, MAX_INPUT_BYTES);
  }

  /** Throws CodedError `lease_lost`, or as `Uploads`. */
  async take(worker: string, part: Part & Held): Promise<Uploaded> {
    const { leases, uploads } = this.#parts;
    await leases.requireHeld(worker, part);
    return uploads.take(part);
  }
}
