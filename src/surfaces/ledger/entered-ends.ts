import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';

/** How far the log and the books had come at one moment. */
export interface Reached {
  /** Entries of the log that were published. */
  readonly size: number;
  /** The place of the last end that was entered, among the ends. */
  readonly cursor: number;
}

/** Which ends the courier has entered in the books. Only reads, so any number of calls may run at once. */
export class EnteredEnds {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async reached(): Promise<Reached> {
    const [size, cursor] = await Promise.all([
      this.#redis.hget(this.#keys.log, 'size'),
      this.#redis.hget(this.#keys.jobEnds, 'cursor'),
    ]);
    return { size: Number(size ?? 0), cursor: Number(cursor ?? 0) };
  }

  /** Those of these jobs, all of them done, whose ends were entered by then: the others wait for it. */
  async among(ids: readonly string[], { cursor }: Reached): Promise<string[]> {
    const { ended, unsealed } = this.#keys;
    const [places, waiting] = await Promise.all([
      this.#redis.zmscore(ended, ...ids),
      this.#redis.zmscore(unsealed, ...ids),
    ]);
    return ids.filter((_, at) => waiting[at] === null && Number(places[at] ?? 0) <= cursor);
  }
}
