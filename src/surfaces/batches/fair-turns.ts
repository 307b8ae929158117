import { FairQueue } from '../../ground/process/fair-queue.ts';

interface Waiting {
  readonly places: number;
  readonly begin: () => void;
}

/**
 * A bounded number of places in which lines of batches are worked on, given fairly by tenant and then by
 * batch. A place is for the moment in which something is done for a line; no line waits in one.
 */
export class FairTurns {
  readonly #all: number;
  readonly #waiting = new FairQueue<Waiting>();
  /** Whose turn it is, as soon as enough places are free. */
  #next: Waiting | undefined;
  #free: number;

  constructor(places: number) {
    this.#all = places;
    this.#free = places;
  }

  /**
   * Runs the step when its turn comes, and returns what it returns. It takes so many places, or all of them.
   */
  async take<Result>(tenant: string, batch: string, step: () => Promise<Result>, wanted = 1): Promise<Result> {
    const places = Math.min(wanted, this.#all);
    await new Promise<void>((begin) => {
      this.#waiting.push(tenant, batch, { places, begin });
      this.#serve();
    });
    try {
      return await step();
    } finally {
      this.#free += places;
      this.#serve();
    }
  }

  #serve(): void {
    for (;;) {
      this.#next ??= this.#waiting.take();
      if (this.#next === undefined || this.#next.places > this.#free) return;
      const { places, begin } = this.#next;
      this.#next = undefined;
      this.#free -= places;
      begin();
    }
  }
}
