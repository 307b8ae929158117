import type { Redis } from 'ioredis';
import { EVENTS_KEPT } from '../../ground/bull/queue-options.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { EnrolmentAsks } from '../leasing/enrolment-ask.store.ts';
import { poolOfQueue, type RedisKeys } from '../../ground/redis/keys.ts';
import { text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const REPAIR = loadScript(new URL('./lua/repair-key.lua', import.meta.url), text);

const LOOK_EVERY_MS = 5_000;
/** Whoever was not heard of for this long is taken off the list of a pool's workers. */
const FORGET_WORKER_MS = 3_600_000;
const MAX_WORKERS = 10_000;
/** An honest stream's newest entry is not this far in the future. */
const MAX_AHEAD_MS = 600_000;

/**
 * What BullMQ keeps for a queue, and of which type each part is (BullMQ 5, `classes/queue-keys`): a type of
 * Redis, a text of digits, or a text that expires.
 */
export const QUEUE_PARTS = {
  wait: 'list',
  active: 'list',
  paused: 'list',
  prioritized: 'zset',
  delayed: 'zset',
  completed: 'zset',
  failed: 'zset',
  marker: 'zset',
  stalled: 'set',
  meta: 'hash',
  events: 'stream',
  id: 'count',
  pc: 'count',
  'stalled-check': 'expiring',
  limiter: 'expiring',
} as const;

/** What it takes to look after the keys of pools. */
export interface KeeperParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly pools: readonly string[];
  /** The queues that there are now. */
  readonly queues: () => readonly string[];
  readonly logger: Logger;
}

/**
 * Looks after what any worker of a pool can spoil for its pool: keys of another type, streams that were ended
 * by the largest id, queues that were paused. Each is removed, and whoever uses it makes it anew; what it
 * held is found by the documents. Any number of attestors may do this at once.
 */
export class PoolKeeper {
  readonly #parts: KeeperParts;
  readonly #looks: PeriodicTask;
  readonly #warn: (error: unknown) => void;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `keys of a pool: ${messageOf(error).slice(0, 300)}`),
    );
    this.#looks = new PeriodicTask(() => this.#look(), this.#warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { pools, queues } = this.#parts;
    const results = await Promise.allSettled([
      ...pools.map((pool) => this.#keepWorkers(pool)),
      ...pools.map((pool) => this.#keepAsks(pool)),
      ...queues().map((queue) => this.#keepQueue(queue)),
    ]);
    for (const result of results) if (result.status === 'rejected') this.#warn(result.reason);
    return LOOK_EVERY_MS;
  }

  async #keepWorkers(pool: string): Promise<void> {
    const { redis, keys } = this.#parts;
    const workers = keys.workers(pool);
    await this.#repair(workers, 'zset');
    const nowMs = Number((await redis.time())[0]) * 1_000;
    await redis.zremrangebyscore(workers, '-inf', nowMs - FORGET_WORKER_MS);
    await redis.zremrangebyscore(workers, nowMs + MAX_AHEAD_MS, '+inf');
    await redis.zremrangebyrank(workers, 0, -MAX_WORKERS - 1);
  }

  async #keepAsks(pool: string): Promise<void> {
    const { redis, keys, logger } = this.#parts;
    await this.#repair(keys.enrolmentAsks(pool), 'hash');
    const gone = await new EnrolmentAsks(redis, keys, pool).tidy();
    if (gone > 0) logger.warn({ pool, gone }, 'requests to be enrolled that nobody signed were removed');
  }

  async #keepQueue(queue: string): Promise<void> {
    const { redis, keys } = this.#parts;
    const base = `${keys.poolQueues(poolOfQueue(queue))}:${queue}:`;
    await Promise.all(Object.entries(QUEUE_PARTS).map(([part, type]) => this.#repair(base + part, type)));
    await redis.hdel(`${base}meta`, 'paused', 'concurrency', 'max', 'duration');
    // Whoever adds a delivery cuts the queue's events to this length: another text fails every one of them,
    // and a large number lets the events grow.
    await redis.hset(`${base}meta`, 'opts.maxLenEvents', EVENTS_KEPT);
  }

  async #repair(key: string, type: string): Promise<void> {
    const { redis, keys, logger } = this.#parts;
    const found = await REPAIR.run(redis, [keys.open], [key, type, MAX_AHEAD_MS]);
    if (found !== '') logger.warn({ key, found }, 'a key of a pool was spoilt and is made anew');
  }
}
