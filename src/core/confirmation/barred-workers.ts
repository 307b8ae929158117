import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Bar } from '../attestation/refusal.ts';
import { Announcements } from '../catalog/announcement.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';

const LOOK_EVERY_MS = 1_000;

interface BarredParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly pools: readonly string[];
  readonly enrolled: EnrolledWorkers;
  readonly logger: Logger;
}

/**
 * Writes into each pool who is enrolled there, and who may not work there, and why: for the workers
 * themselves, for whoever counts them, and for the script that hands out claims. Workers of the list come
 * before they are heard of; strangers are found by their announcements. Any attestor may write it: one whose
 * list is older than another's does not.
 */
export class BarredWorkers {
  readonly #parts: BarredParts;
  readonly #announcements: Announcements;
  readonly #looks: PeriodicTask;

  constructor(parts: BarredParts) {
    this.#parts = parts;
    this.#announcements = new Announcements(parts.redis, parts.keys);
    const warn = rateLimited(5_000, (error) =>
      parts.logger.warn(`who is barred is not written: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { redis, keys, pools, enrolled } = this.#parts;
    if (enrolled.serial < Number((await redis.zscore(keys.registry, 'serial')) ?? 0)) return LOOK_EVERY_MS;
    for (const pool of pools) await this.#write(pool);
    return LOOK_EVERY_MS;
  }

  async #write(pool: string): Promise<void> {
    const { redis, keys, enrolled, logger } = this.#parts;
    const listed = enrolled.idsOf(pool);
    await this.#list(pool, listed);
    const [before, present] = await Promise.all([
      redis.hgetall(keys.barred(pool)),
      this.#announcements.present({ role: 'worker', pool }),
    ]);
    const ids = [...listed, ...present.map(({ id }) => id)];
    const { added, removed } = changesOf(
      before,
      barred(ids, (id) => enrolled.barFrom(id, pool, Date.now())),
    );
    for (const [worker, why] of added) logger.warn({ worker, pool, why }, 'a worker is barred');
    for (const worker of removed) logger.info({ worker, pool }, 'a worker is no longer barred');
    const writes = redis.pipeline();
    if (added.size > 0) writes.hset(keys.barred(pool), added);
    if (removed.length > 0) writes.hdel(keys.barred(pool), ...removed);
    if (writes.length > 0) await writes.exec();
  }

  async #list(pool: string, listed: readonly string[]): Promise<void> {
    const { redis, keys } = this.#parts;
    const before = new Set(await redis.smembers(keys.enrolled(pool)));
    const added = listed.filter((id) => !before.has(id));
    const now = new Set(listed);
    const removed = [...before].filter((id) => !now.has(id));
    if (added.length > 0) await redis.sadd(keys.enrolled(pool), ...added);
    if (removed.length > 0) await redis.srem(keys.enrolled(pool), ...removed);
  }
}

/** Those of these workers who may not work, and why. */
function barred(ids: readonly string[], barFrom: (id: string) => Bar | undefined): Map<string, Bar> {
  return new Map(
    ids.flatMap((id): [string, Bar][] => {
      const bar = barFrom(id);
      return bar === undefined ? [] : [[id, bar]];
    }),
  );
}

/** What is to be written and removed, so that what stands there becomes what is true. */
export function changesOf(
  before: Readonly<Record<string, string>>,
  now: ReadonlyMap<string, Bar>,
): { added: Map<string, Bar>; removed: string[] } {
  return {
    added: new Map([...now].filter(([id, bar]) => before[id] !== bar)),
    removed: Object.keys(before).filter((id) => !now.has(id)),
  };
}
