import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';

/** Whether workers of a pool may work there, as the attestors say. */
export class Standings {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #pool: string;

  constructor(redis: Redis, keys: RedisKeys, pool: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#pool = pool;
  }

  /** Why this worker may not work now, or null where it may. */
  async barOf(worker: string): Promise<string | null> {
    const [written, isQuarantined] = await Promise.all([
      this.#redis.hget(this.#keys.barred(this.#pool), worker),
      this.#redis.sismember(this.#keys.quarantined, worker),
    ]);
    return written ?? (isQuarantined === 1 ? 'WORKER_QUARANTINED' : null);
  }
}
