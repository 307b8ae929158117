import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { JobKeys } from '../jobs/job.keys.ts';
import { queueName } from '../jobs/job.keys.ts';

/** BullMQ carries ids only: it delivers, the documents decide. What is delivered is removed by the consumer's options. */
export interface Delivery {
  readonly id: string;
}

/** The queues of the pools, opened when first used. Adding one delivery twice under one name adds it once. */
export class PoolQueues {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #queues = new Map<string, Queue<Delivery>>();

  constructor(redis: Redis, keys: JobKeys) {
    this.#redis = redis;
    this.#prefix = keys.poolQueues;
  }

  static nameFor(pool: string, model: string): string {
    return queueName(pool, model);
  }

  /** Adds deliveries: `name` identifies one, `id` is the job. */
  async add(queue: string, deliveries: readonly { name: string; id: string }[]): Promise<void> {
    const target = this.#open(queue);
    if (deliveries.length === 1) {
      const [only] = deliveries;
      if (only) await target.add('run', { id: only.id }, { jobId: only.name });
      return;
    }
    await target.addBulk(deliveries.map(({ name, id }) => ({ name: 'run', data: { id }, opts: { jobId: name } })));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  #open(name: string): Queue<Delivery> {
    let queue = this.#queues.get(name);
    if (queue === undefined) {
      queue = new Queue(name, {
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
