import type { BulkJobOptions, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../redis/keys.ts';
import { integer, listOf } from '../redis/reply.ts';
import { loadScript } from '../redis/script.ts';

const START_TAGS = loadScript(new URL('./lua/start-tags.lua', import.meta.url), listOf(integer));

/** BullMQ's largest priority (2^21 - 1); it keeps priorities in 21 bits of a score. */
const MAX_TAG = 2_097_151;

export interface FairDelivery<Data> {
  /** Identifies the delivery: adding it twice adds it once. */
  readonly name: string;
  readonly data: Data;
  /** Who pays for it, and how much, in units of `costOf`. */
  readonly tenant: string;
  readonly cost: number;
}

/** BullMQ's options for the deliveries of a queue. */
export type DeliveryOptions = BulkJobOptions;

/**
 * BullMQ queues in which tenants share what is served by cost, whichever came first with however much. A
 * tenant's own jobs stay in their order. What was delivered is removed by the consumer's options.
 */
export class FairQueues<Data extends object> {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #queues: ReadonlyMap<string, Queue>;
  readonly #options: DeliveryOptions;

  constructor(redis: Redis, keys: RedisKeys, queues: readonly Queue[], options: DeliveryOptions = {}) {
    this.#redis = redis;
    this.#keys = keys;
    this.#queues = new Map(queues.map((queue) => [queue.name, queue]));
    this.#options = options;
    for (const queue of queues) queue.on('error', () => undefined);
  }

  /**
   * Adds deliveries to a queue; a name that waits there already is not added again. Any number of callers at
   * once. A queue that is not one of these is passed over. A crash between the two steps has charged the
   * tenants for deliveries that are not there, until the queue is empty.
   */
  async add(name: string, deliveries: readonly FairDelivery<Data>[]): Promise<void> {
    const queue = this.#queues.get(name);
    if (queue === undefined) return;
    const tags = await START_TAGS.run(
      this.#redis,
      [this.#keys.fairShares(name), `${queue.opts.prefix ?? ''}:${name}:prioritized`],
      [MAX_TAG, ...deliveries.flatMap(({ tenant, cost }) => [tenant, cost])],
    );
    await queue.addBulk(
      deliveries.map(({ name: jobId, data }, index) => ({
        name: 'run',
        data,
        opts: { ...this.#options, jobId, priority: tags[index] ?? MAX_TAG },
      })),
    );
  }
}
