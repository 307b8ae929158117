import { Queue, type BulkJobOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../redis/keys.ts';
import { loadScript } from '../redis/script.ts';

const START_TAGS = loadScript(new URL('./lua/start-tags.lua', import.meta.url));

/** BullMQ's largest priority (2^21 - 1); it keeps priorities in 21 bits of a score. */
const MAX_TAG = 2_097_151;

/** What a pool's queue carries: ids only. It delivers, the documents decide. */
export interface QueuedJob {
  readonly id: string;
}

export interface FairDelivery<Data> {
  /** Identifies the delivery: adding it twice adds it once. */
  readonly name: string;
  readonly data: Data;
  /** Who pays for it, and how much, in units of `costOf`. */
  readonly tenant: string;
  readonly cost: number;
}

/**
 * BullMQ queues in which tenants share what is served by cost, whoever came first with how much; a tenant's own
 * jobs stay in their order. Queues are opened when first used. What was delivered is removed by the consumer's options.
 */
export class FairQueues<Data extends object> {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #prefix: string;
  readonly #options: BulkJobOptions;
  readonly #queues = new Map<string, Queue<object>>();

  constructor(redis: Redis, keys: RedisKeys, prefix: string, options: BulkJobOptions = {}) {
    this.#redis = redis;
    this.#keys = keys;
    this.#prefix = prefix;
    this.#options = options;
  }

  /** The queues of the pools. */
  static ofPools(redis: Redis, keys: RedisKeys): FairQueues<QueuedJob> {
    return new FairQueues(redis, keys, keys.poolQueues);
  }

  async add(queue: string, deliveries: readonly FairDelivery<Data>[]): Promise<void> {
    const tags = await START_TAGS.run(
      this.#redis,
      [this.#keys.fairShares(queue), `${this.#prefix}:${queue}:prioritized`],
      [MAX_TAG, ...deliveries.flatMap(({ tenant, cost }) => [tenant, cost])],
    );
    if (!Array.isArray(tags)) throw new Error('start-tags.lua answered something else than a list.');
    await this.#open(queue).addBulk(
      deliveries.map(({ name, data }, index) => ({
        name: 'run',
        data,
        opts: { ...this.#options, jobId: name, priority: Number(tags[index]) },
      })),
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  #open(name: string): Queue<object> {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new Queue<object>(name, {
        connection: this.#redis,
        prefix: this.#prefix,
        skipVersionCheck: true,
        // Nobody listens to BullMQ's own events; the stream is kept as short as it can be.
        streams: { events: { maxLen: 10 } },
      });
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }
}
