import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { StorageGate } from '../../ground/redis/storage-gate.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { isAmong, tenantOf, type Whose } from '../../core/jobs/whose.ts';

const KEEP = loadScript(new URL('./lua/keep-file.lua', import.meta.url), oneOf('kept', 'known', 'full', 'large'));

export const MAX_FILE_BYTES = 200 * 1_048_576;
const MAX_FILES = 1_000;
/** All files of a tenant together, where its limits say nothing else. */
export const MAX_ALL_FILES_BYTES = 20 * 1_073_741_824;
const KEEP_MS = 30 * 86_400_000;
const LIST_PAGE = 10_000;

export const FILE_PURPOSES = ['batch', 'batch_output'] as const;

const FileRecord = z.object({
  tenant: z.string(),
  /** The API key that uploaded it, or that made the batch whose results it holds. */
  keyId: z.string(),
  filename: z.string(),
  purpose: z.enum(FILE_PURPOSES),
  sha256: z.string(),
  bytes: z.coerce.number(),
  createdMs: z.coerce.number(),
  expiresMs: z.coerce.number(),
});
export type FileRecord = z.infer<typeof FileRecord> & { readonly id: string };

/** The id of a file to come. */
export const newFileId = () => `file-${freshRandom(12).toString('hex')}`;

const UNKNOWN = 'There is no file with this id.';

/**
 * Files of tenants: uploads for batches and results of batches. A file of another tenant looks like one that
 * does not exist. Any number of calls may run at once.
 */
export class BatchFiles {
  readonly blobs: BlobStore;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #gate: StorageGate;

  constructor(redis: Redis, keys: RedisKeys, blobs: BlobStore, gate: StorageGate) {
    this.#redis = redis;
    this.#keys = keys;
    this.blobs = blobs;
    this.#gate = gate;
  }

  /**
   * Throws CodedErrors `too_many_files` and `storage_full` where no other upload is taken. `most`: the bytes
   * that all files of the tenant may have.
   */
  async requireRoom(tenant: string, most = MAX_ALL_FILES_BYTES): Promise<void> {
    await this.#gate.requireRoom();
    // Results come without being asked, and may have taken all of it.
    await this.#enter(newFileId(), tenant, { bytes: 1, most }, []);
  }

  /**
   * Stores the bytes of an upload. Until `keep`, and after a crash in between, they are a blob without a
   * file, which the courier removes. Throws CodedError `body_too_large`.
   */
  store(source: AsyncIterable<Uint8Array>): Promise<{ sha256: string; bytes: number }> {
    return this.blobs.putStream(source, MAX_FILE_BYTES);
  }

  /**
   * Keeps what was stored for so many seconds, at most 30 days; a file that has this id already stays.
   * `most`: the bytes that all files of the tenant may have. Throws CodedErrors `too_many_files` and
   * `storage_unavailable`.
   */
  async keep(
    upload: Pick<FileRecord, 'id' | 'tenant' | 'keyId' | 'filename' | 'sha256' | 'bytes'>,
    {
      seconds = KEEP_MS / 1_000,
      most = MAX_ALL_FILES_BYTES,
    }: { seconds?: number | undefined; most?: number | undefined } = {},
  ): Promise<FileRecord> {
    const createdMs = Date.now();
    const expiresMs = createdMs + Math.min(seconds * 1_000, KEEP_MS);
    const { id, ...fields } = { ...upload, purpose: 'batch' as const, createdMs, expiresMs };
    const isNew = await this.#enter(id, upload.tenant, { ...fields, most }, Object.entries(fields).flat());
    if (!isNew) return this.get(upload.tenant, id);
    const file = { id, ...fields };
    // Bytes that a deleted file had too may have been removed since they were stored.
    if (await this.blobs.touch(file.sha256)) return file;
    await this.#forget(file.tenant, file.id);
    throw new CodedError('storage_unavailable', 'The file could not be kept; send it again.');
  }

  /**
   * Stores results, as long as they may be, and returns the record of their file, which whoever ends the
   * batch writes. They are kept for so many seconds, 30 days at most.
   */
  async storeResults(
    { id, tenant, keyId, filename }: Pick<FileRecord, 'id' | 'tenant' | 'keyId' | 'filename'>,
    source: AsyncIterable<string>,
    seconds = KEEP_MS / 1_000,
  ): Promise<FileRecord> {
    const stored = await this.blobs.putStream(source, Number.MAX_SAFE_INTEGER);
    const createdMs = Date.now();
    const expiresMs = createdMs + Math.min(seconds * 1_000, KEEP_MS);
    return { id, tenant, keyId, filename, purpose: 'batch_output', ...stored, createdMs, expiresMs };
  }

  /** One of these files. Throws CodedError `file_not_found`. */
  async get(whose: Whose, id: string): Promise<FileRecord> {
    const file = await this.#read(id);
    if (file === undefined || !isAmong(whose, file)) throw new CodedError('file_not_found', UNKNOWN);
    return file;
  }

  /**
   * A page of these files, newest first unless `order` is `asc`, after the file `after`. Throws
   * CodedError `file_not_found`.
   */
  async list(
    whose: Whose,
    query: {
      after?: string | undefined;
      limit: number;
      order?: 'asc' | 'desc' | undefined;
      purpose?: string | undefined;
    },
  ): Promise<{ files: FileRecord[]; hasMore: boolean }> {
    const newestFirst = await this.#redis.zrevrange(this.#keys.filesOf(tenantOf(whose)), 0, LIST_PAGE);
    const ids = query.order === 'asc' ? newestFirst.toReversed() : newestFirst;
    const from = query.after === undefined ? 0 : ids.indexOf(query.after) + 1;
    if (query.after !== undefined && from === 0) throw new CodedError('file_not_found', UNKNOWN, { param: 'after' });
    const found: FileRecord[] = [];
    for (const id of ids.slice(from)) {
      const file = await this.#read(id);
      if (
        file === undefined ||
        !isAmong(whose, file) ||
        (query.purpose !== undefined && file.purpose !== query.purpose)
      )
        continue;
      if (found.length === query.limit) return { files: found, hasMore: true };
      found.push(file);
    }
    return { files: found, hasMore: false };
  }

  /**
   * Deletes a file; a courier removes its bytes within a minute, unless another file has them. Throws
   * CodedError `file_not_found`.
   */
  async remove(whose: Whose, id: string): Promise<void> {
    const { tenant, sha256 } = await this.get(whose, id);
    await this.#redis.zadd(this.#keys.filesGone, Date.now(), sha256);
    await this.#forget(tenant, id);
  }

  /**
   * Deletes expired files, and blobs older than `blobAgeMs` that belong to no file. A blob in use is made
   * young each time, so the courier must call this more often than `blobAgeMs`. `inUse` has the digests of
   * further blobs in use.
   */
  async clean(blobAgeMs: number, inUse: readonly string[]): Promise<void> {
    for (const id of await this.#redis.zrangebyscore(this.#keys.files, '-inf', Date.now(), 'LIMIT', 0, 1_000)) {
      const tenant = await this.#redis.hget(this.#keys.file(id), 'tenant');
      if (tenant !== null) await this.#forget(tenant, id);
      else await this.#redis.zrem(this.#keys.files, id);
    }
    for (const id of await this.#redis.zrange(this.#keys.files, '0', '-1')) {
      const file = await this.#read(id);
      if (file !== undefined) await this.blobs.touch(file.sha256);
    }
    for (const sha256 of inUse) await this.blobs.touch(sha256);
    await this.blobs.removeOld(blobAgeMs);
  }

  /** False where the file is there. Throws CodedError `too_many_files`. */
  async #enter(
    id: string,
    tenant: string,
    {
      bytes,
      most,
      createdMs = 0,
      expiresMs = 0,
    }: { bytes: number; most: number; createdMs?: number; expiresMs?: number },
    fields: readonly (string | number)[],
  ): Promise<boolean> {
    const reply = await KEEP.run(
      this.#redis,
      [this.#keys.file(id), this.#keys.filesOf(tenant), this.#keys.files],
      [this.#keys.prefix, id, createdMs, expiresMs, MAX_FILES, most, bytes, ...fields],
    );
    if (reply === 'full')
      throw new CodedError('too_many_files', `There are already ${MAX_FILES} files; delete some first.`);
    if (reply === 'large')
      throw new CodedError(
        'too_many_files',
        `All files of a tenant may have ${most} bytes (\`file_bytes\`); delete some first.`,
      );
    return reply === 'kept';
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
    return parsed.success && parsed.data.expiresMs > Date.now() ? { id, ...parsed.data } : undefined;
  }
}
