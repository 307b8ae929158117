import type { Redis } from 'ioredis';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { poolOfQueue, type RedisKeys } from '../../ground/redis/keys.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { JobReader } from './job.reader.ts';

interface JobInputsParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly reader: JobReader;
  readonly blobs: BlobFolders;
}

/** What jobs that did not get an answer asked. Any number of calls at once. */
export class JobInputs {
  readonly #parts: JobInputsParts;

  constructor(parts: JobInputsParts) {
    this.#parts = parts;
  }

  /**
   * The bytes that were hashed as the job's input; undefined where the job is forgotten or erased. A small
   * one stands beside the ticket until the job is sealed, and then in its record; a large one among the
   * blobs. Throws CodedError `blob_missing` where it is not kept.
   */
  async of(id: string): Promise<Buffer | undefined> {
    const { redis, keys, reader, blobs } = this.#parts;
    // First what sealing removes, and then what it writes: it may happen between the two.
    const unsealed = await redis.hgetBuffer(keys.ticket(id), 'input');
    const view = await reader.read(id);
    if (view?.ticket === undefined || view.erased !== undefined) return undefined;
    const small = unsealed ?? view.record?.input;
    if (small !== undefined) return small;
    const { digest } = readTicket(id, view.ticket).ticket.subject[0];
    return blobs.ofPool(poolOfQueue(view.queue)).of(id).get(digest.sha256, MAX_INPUT_BYTES);
  }
}
