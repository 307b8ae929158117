import type { Redis } from 'ioredis';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { DemandLink } from './links.ts';

const READ = loadScript(new URL('./lua/read-heads.lua', import.meta.url), listOf(text));

/** What is next in the queues of a pool, as it stands in Redis. Any number of callers at once. */
export class QueueHeads implements DemandLink {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #pool: string;

  constructor(redis: Redis, keys: RedisKeys, pool: string) {
    this.#redis = redis;
    this.#keys = keys;
    this.#pool = pool;
  }

  async heads(models: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const queues = this.#keys.poolQueues(this.#pool);
    const bases = models.map((model) => `${queues}:${queueName(this.#pool, model)}:`);
    const heads = await READ.run(this.#redis, [`${bases[0] ?? ''}wait`], bases);
    return new Map(
      models.flatMap((model, at) => {
        const head = heads[at] ?? '';
        return head === '' ? [] : [[model, head] as const];
      }),
    );
  }
}
