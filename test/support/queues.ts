import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { Backlog } from '../../src/core/backlog/backlog.ts';
import { PoolQueues } from '../../src/ground/bull/pool-queues.ts';
import { queueOptions } from '../../src/ground/bull/queue-options.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { poolOfQueue, type RedisKeys } from '../../src/ground/redis/keys.ts';

/** Queues of BullMQ on a connection, as `QueuesModule` opens them in a role. */
export function openQueues(redis: Redis, keys: RedisKeys, names: readonly string[] = ['default.noop']): Queue[] {
  return names.map((name) => new Queue(name, queueOptions(redis, keys.poolQueues(poolOfQueue(name)))));
}

/** The backlogs of these queues, as a role has them; it releases when it is told, and not by itself. */
export function backlogOf(redis: Redis, keys: RedisKeys, names?: readonly string[]): Backlog {
  const queues = new PoolQueues(openQueues(redis, keys, names));
  return new Backlog({ redis, keys, queues, logger: createLogger('test', 'error') });
}
