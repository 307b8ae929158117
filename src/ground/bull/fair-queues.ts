import { Queue, type BulkJobOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../redis/keys.ts';
import { integer, listOf } from '../redis/reply.ts';
import { loadScript } from '../redis/script.ts';

const START_TAGS = loadScript(new URL('./lua/start-tags.lua', import.meta.url), listOf(integer));

/** BullMQ's largest priority (2^21 - 1); it keeps priorities in 21 bits of a score. */
const MAX_TAG = 2_097_151;

/** An entry of a pool's queue: an id only. The documents of the job decide whether it is still to be run. */
export interface QueuedJob {
  readonly id: string;
}

export interface FairDelivery<Data> {
  /** Identifies the delivery: adding it twice adds it once. */
  readonly name: string;
  readonly data: Data;
  /** Fair-queue key: deliveries with the same key wait behind each other. */
  readonly tenant: string;
  /** In units of `costOf`. */
  readonly cost: number;
}

/**
 * BullMQ queues that tenants share by cost, whichever tenant came first and with however much. The deliveries
 * of one tenant stay in their order. A queue is opened when it is first used; the consumer's options remove
 * what was delivered.
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

  /**
   * Adds deliveries to a queue; a name that waits there already is not added again. Any number of callers at
   * once. A crash between the two steps has charged the tenants for deliveries that are not there, until the
   * queue is empty.
   */
  async add(queue: string, deliveries: readonly FairDelivery<Data>[]): Promise<void> {
    const tags = await START_TAGS.run(
      this.#redis,
      [this.#keys.fairShares(queue), `${this.#prefix}:${queue}:prioritized`],
      [MAX_TAG, ...deliveries.flatMap(({ tenant, cost }) => [tenant, cost])],
    );
    await this.#open(queue).addBulk(
      deliveries.map(({ name, data }, index) => ({
        name: 'run',
        data,
        opts: { ...this.#options, jobId: name, priority: tags[index] ?? MAX_TAG },
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
        // BullMQ's own event stream has no reader here, so it is kept as short as BullMQ allows.
        streams: { events: { maxLen: 10 } },
      });
      queue.on('error', () => undefined);
      this.#queues.set(name, queue);
    }
    return queue;
  }
}
