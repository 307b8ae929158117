import { FairQueue } from '../../ground/process/fair-queue.ts';

/**
 * A bounded number of places in which lines of batches are worked on, given fairly by tenant and then by
 * batch. A place is for the moment in which something is done for a line; no line waits in one.
 */
export class FairTurns {
  readonly #waiting = new FairQueue<() => void>();
  #free: number;

  constructor(places: number) {
    this.#free = places;
  }

  /** Runs the step when its turn comes, and returns what it returns. */
  async take<Result>(tenant: string, batch: string, step: () => Promise<Result>): Promise<Result> {
    await new Promise<void>((begin) => {
      this.#waiting.push(tenant, batch, begin);
      this.#serve();
    });
    try {
      return await step();
    } finally {
      this.#free += 1;
      this.#serve();
    }
  }

  #serve(): void {
    while (this.#free > 0 && !this.#waiting.isEmpty) {
      this.#free -= 1;
      this.#waiting.take()?.();
    }
  }
}
