import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { BatchFiles } from '../batches/batch-files.store.ts';
import type { Batches } from '../batches/batch.store.ts';

const LOOK_EVERY_MS = 5_000;
/** Where more waits than one look takes. */
const MORE_MS = 1_000;
const PAGE = 500;
/** Who uploads the same bytes at this moment has stored them, and names them a moment later. */
const FRESH_MS = 5_000;

/**
 * Removes the bytes of files that were deleted, and of pieces of results that stand in files by now. Files
 * with the same content share their bytes, also between tenants: they go when no file and no open batch has
 * them any more. The wish stands until then, so any number of couriers may do this, and one that dies leaves
 * it to the next.
 */
export class FileEraser {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #files: BatchFiles;
  readonly #batches: Batches;
  readonly #task: PeriodicTask;

  constructor(parts: { redis: Redis; keys: RedisKeys; files: BatchFiles; batches: Batches }, logger: Logger) {
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#files = parts.files;
    this.#batches = parts.batches;
    this.#task = new PeriodicTask(
      () => this.look(),
      (error) => logger.warn(`erasing files: ${messageOf(error).slice(0, 300)}; it is tried again`),
      LOOK_EVERY_MS,
    );
  }

  start(): void {
    this.#task.start();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  /** Removes what may go of the oldest wishes. Returns when to look again (ms). */
  async look(): Promise<number> {
    const gone = await this.#redis.zrange(this.#keys.filesGone, '0', String(PAGE - 1));
    if (gone.length === 0) return LOOK_EVERY_MS;
    const waiting = new Set(gone);
    const shared = await this.#ofFiles(waiting);
    const inUse = await this.#ofBatches();
    for (const sha256 of gone) {
      // What has to wait stands behind the others, so that it holds up none of them.
      if (inUse.has(sha256)) {
        await this.#redis.zadd(this.#keys.filesGone, 'XX', Date.now(), sha256);
        continue;
      }
      const isGone = shared.has(sha256) || (await this.#files.blobs.removeUnlessFresh(sha256, FRESH_MS));
      if (isGone) await this.#redis.zrem(this.#keys.filesGone, sha256);
    }
    return gone.length === PAGE ? MORE_MS : LOOK_EVERY_MS;
  }

  /** Those of these digests that files have. */
  async #ofFiles(wanted: ReadonlySet<string>): Promise<Set<string>> {
    const found = new Set<string>();
    // By rank from the end, which removals only move nearer.
    for (let end = await this.#redis.zcard(this.#keys.files); end > 0; end -= PAGE) {
      const ids = await this.#redis.zrange(this.#keys.files, String(Math.max(0, end - PAGE)), String(end - 1));
      const digests = await Promise.all(ids.map((id) => this.#redis.hget(this.#keys.file(id), 'sha256')));
      for (const sha256 of digests) if (sha256 !== null && wanted.has(sha256)) found.add(sha256);
    }
    return found;
  }

  /**
   * The digests of the inputs of open batches, whose files may be deleted while they run. The pieces of their
   * results are not looked at: they name the batch, and are the same as the bytes of no file.
   */
  async #ofBatches(): Promise<Set<string>> {
    const open = await Promise.all((await this.#batches.open()).map((id) => this.#batches.read(id)));
    return new Set(open.flatMap((batch) => (batch === undefined ? [] : [batch.inputSha256])));
  }
}
