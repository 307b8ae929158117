import type { Queue } from 'bullmq';

/**
 * What a pool's queue carries: the names of the deliveries of jobs, of one or of a pack. It delivers, the
 * documents decide.
 */
export interface Delivery {
  readonly jobs: readonly string[];
}

/**
 * The queues of the pools, one for each model of the catalog. They hold what was released, in its order; the
 * workers of a pool can do to its queues what they like.
 */
export class PoolQueues {
  readonly #queues: ReadonlyMap<string, Queue>;

  constructor(queues: readonly Queue[]) {
    this.#queues = new Map(queues.map((queue) => [queue.name, queue]));
    for (const queue of queues) queue.on('error', () => undefined);
  }

  /** The names of all queues, in the order of the catalog. */
  get names(): readonly string[] {
    return [...this.#queues.keys()];
  }

  /** Adds deliveries, each under the name of its first job; a name that stands there is not added again. */
  async add(queue: string, deliveries: readonly (readonly [first: string, ...rest: string[]])[]): Promise<void> {
    await this.#queues
      .get(queue)
      ?.addBulk(
        deliveries.map((jobs) => ({ name: 'run', data: { jobs } satisfies Delivery, opts: { jobId: jobs[0] } })),
      );
  }
}
