import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { freshRandom } from '../../ground/keys/random.ts';

export const MAX_FILE_BYTES = 200 * 1_048_576;
/** Results hold the answers; no batch of the largest size comes near. */
const MAX_RESULT_BYTES = 8 * 2 ** 30;
const MAX_FILES = 1_000;
const KEEP_MS = 30 * 86_400_000;
const LIST_PAGE = 10_000;

export const FILE_PURPOSES = ['batch', 'batch_output'] as const;

const FileRecord = z.object({
  tenant: z.string(),
  filename: z.string(),
  purpose: z.enum(FILE_PURPOSES),
  sha256: z.string(),
  bytes: z.coerce.number(),
  createdMs: z.coerce.number(),
  expiresMs: z.coerce.number(),
});
export type FileRecord = z.infer<typeof FileRecord> & { readonly id: string };

const UNKNOWN = 'There is no file with this id.';

/** Files of tenants: what they upload for batches, and what batches answer. A file of another tenant is one that is not there. */
export class BatchFiles {
  readonly blobs: BlobStore;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys, blobs: BlobStore) {
    this.#redis = redis;
    this.#keys = keys;
    this.blobs = blobs;
  }

  /**
   * Keeps an upload for 30 days. A crash before the record leaves a blob that nobody names; the courier removes it. Throws
   * CodedErrors `body_too_large` and `too_many_files`.
   */
  async upload(tenant: string, filename: string, source: AsyncIterable<Uint8Array>): Promise<FileRecord> {
    if ((await this.#redis.zcard(this.#keys.filesOf(tenant))) >= MAX_FILES)
      throw new CodedError('too_many_files', `There are ${MAX_FILES} files already; delete some first.`);
    const stored = await this.blobs.putStream(source, MAX_FILE_BYTES);
    const createdMs = Date.now();
    return this.#record({
      id: `file-${freshRandom(12).toString('hex')}`,
      tenant,
      filename,
      purpose: 'batch',
      ...stored,
      createdMs,
      expiresMs: createdMs + KEEP_MS,
    });
  }

  /** Keeps results under an id that the caller derives, so that doing it twice makes one file. */
  async keepResults(tenant: string, id: string, filename: string, source: AsyncIterable<string>): Promise<FileRecord> {
    const stored = await this.blobs.putStream(source, MAX_RESULT_BYTES);
    const createdMs = Date.now();
    return this.#record({
      id,
      tenant,
      filename,
      purpose: 'batch_output',
      ...stored,
      createdMs,
      expiresMs: createdMs + KEEP_MS,
    });
  }

  async #record(file: FileRecord): Promise<FileRecord> {
    const { id, ...fields } = file;
    const reply = await this.#redis
      .multi()
      .hset(this.#keys.file(id), fields)
      .zadd(this.#keys.filesOf(file.tenant), file.createdMs, id)
      .zadd(this.#keys.files, file.expiresMs, id)
      .exec();
    for (const [error] of reply ?? []) if (error) throw error;
    return file;
  }

  /** Throws CodedError `file_not_found`. */
  async get(tenant: string, id: string): Promise<FileRecord> {
    const file = await this.#read(id);
    if (file?.tenant !== tenant) throw new CodedError('file_not_found', UNKNOWN);
    return file;
  }

  /** The newest first, after a file where one is named. */
  async list(
    tenant: string,
    query: { after?: string | undefined; limit: number; purpose?: string | undefined },
  ): Promise<{ files: FileRecord[]; hasMore: boolean }> {
    const ids = await this.#redis.zrevrange(this.#keys.filesOf(tenant), 0, LIST_PAGE);
    const from = query.after === undefined ? 0 : ids.indexOf(query.after) + 1;
    if (query.after !== undefined && from === 0) throw new CodedError('file_not_found', UNKNOWN, { param: 'after' });
    const found: FileRecord[] = [];
    for (const id of ids.slice(from)) {
      const file = await this.#read(id);
      if (file === undefined || (query.purpose !== undefined && file.purpose !== query.purpose)) continue;
      if (found.length === query.limit) return { files: found, hasMore: true };
      found.push(file);
    }
    return { files: found, hasMore: false };
  }

  async remove(tenant: string, id: string): Promise<void> {
    await this.get(tenant, id);
    await this.#forget(tenant, id);
  }

  /**
   * Forgets files whose time has come, and removes the blobs that no file names: one that is named is made young each time.
   * Only the courier calls it, more often than `blobAgeMs`.
   */
  async clean(blobAgeMs: number, inUse: readonly string[]): Promise<void> {
    for (const id of await this.#redis.zrangebyscore(this.#keys.files, '-inf', Date.now(), 'LIMIT', 0, 1_000)) {
      const file = await this.#read(id);
      if (file !== undefined) await this.#forget(file.tenant, id);
      else await this.#redis.zrem(this.#keys.files, id);
    }
    for (const id of await this.#redis.zrange(this.#keys.files, '0', '-1')) {
      const file = await this.#read(id);
      if (file !== undefined) await this.blobs.touch(file.sha256);
    }
    for (const sha256 of inUse) await this.blobs.touch(sha256);
    await this.blobs.removeOld(blobAgeMs);
  }

  async #forget(tenant: string, id: string): Promise<void> {
    await this.#redis
      .multi()
      .unlink(this.#keys.file(id))
      .zrem(this.#keys.filesOf(tenant), id)
      .zrem(this.#keys.files, id)
      .exec();
  }

  async #read(id: string): Promise<FileRecord | undefined> {
    if (!/^file-[0-9a-f]{24}$/.test(id)) return undefined;
    const parsed = FileRecord.safeParse(await this.#redis.hgetall(this.#keys.file(id)));
    return parsed.success ? { id, ...parsed.data } : undefined;
  }
}
