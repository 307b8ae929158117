import type { Queue } from 'bullmq';

/**
 * What a pool's queue carries: the names of the deliveries of jobs, of one or of a pack. It delivers, the
 * documents decide.
 */
export interface Delivery {
  readonly jobs: readonly string[];
}

/** How queues that come while a role runs are found and opened. */
interface ComingQueues {
  readonly names: () => readonly string[];
  readonly open: (name: string) => Queue;
}

/**
 * The queues of the pools, one for each model of the catalog. They hold what was released, in its order; the
 * workers of a pool can do to its queues what they like. Nest closes those that it was given at the start,
 * and this those that have come since.
 */
export class PoolQueues {
  readonly #queues: Map<string, Queue>;
  readonly #coming: ComingQueues | undefined;
  readonly #came: Queue[] = [];

  constructor(queues: readonly Queue[], coming?: ComingQueues) {
    this.#queues = new Map(queues.map((queue) => [queue.name, queue]));
    this.#coming = coming;
    for (const queue of queues) queue.on('error', () => undefined);
  }

  /** The names of all queues, in the order of the catalog. */
  get names(): readonly string[] {
    const { names, open } = this.#coming ?? {};
    for (const name of names?.() ?? []) if (!this.#queues.has(name) && open !== undefined) this.#open(open(name));
    return [...this.#queues.keys()];
  }

  /** Called by Nest when the role ends. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.#came.map((queue) => queue.close()));
  }

  #open(queue: Queue): void {
    queue.on('error', () => undefined);
    this.#queues.set(queue.name, queue);
    this.#came.push(queue);
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
