import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { PoolQueues, queueOptions } from '../../src/ground/bull/fair-queues.ts';
import { poolOfQueue, type RedisKeys } from '../../src/ground/redis/keys.ts';

/** Queues of pools on a connection, as `FairQueuesModule` opens them in a role. */
export function poolQueues(redis: Redis, keys: RedisKeys, names: readonly string[] = ['default.noop']): PoolQueues {
  return new PoolQueues(
    redis,
    keys,
    names.map((name) => new Queue(name, queueOptions(redis, keys.poolQueues(poolOfQueue(name))))),
  );
}
