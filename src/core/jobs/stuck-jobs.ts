import type { Redis } from 'ioredis';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { JobReader } from './job.reader.ts';

/** An open job whose confirmation fails again and again. */
export interface StuckJob {
  readonly id: string;
  readonly tenant: string;
  readonly model: string;
  readonly sinceMs: number;
  readonly failures: number;
  readonly cause: string;
  readonly nextTryMs: number;
  readonly deadlineMs: number;
}

/** Reads which cases the attestors have put aside. Any number of callers at once. */
export class StuckJobs {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #reader: JobReader;

  constructor(redis: Redis, keys: RedisKeys, reader: JobReader) {
    this.#redis = redis;
    this.#keys = keys;
    this.#reader = reader;
  }

  /** At most `limit` of them, those that are tried next first; without those that have ended meanwhile. */
  async list(limit: number): Promise<StuckJob[]> {
    const rows = await this.#redis.zrange(this.#keys.aside, '0', String(limit - 1), 'WITHSCORES');
    const ids = rows.filter((_, at) => at % 2 === 0);
    if (ids.length === 0) return [];
    const [whys, views] = await Promise.all([
      this.#redis.hmget(this.#keys.asideWhy, ...ids),
      Promise.all(ids.map((id) => this.#reader.read(id))),
    ]);
    return ids.flatMap((id, at) => {
      const view = views[at];
      const [, since, failures, cause = ''] = /^(\d+) (\d+) (.*)$/.exec(whys[at] ?? '') ?? [];
      if (view === undefined || isFinal(view.state) || since === undefined) return [];
      return {
        id,
        tenant: view.tenant,
        model: view.model,
        sinceMs: Number(since),
        failures: Number(failures),
        cause,
        nextTryMs: Number(rows[2 * at + 1]),
        deadlineMs: view.deadlineMs,
      };
    });
  }
}
