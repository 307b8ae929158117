/** How fast an old mean is forgotten: a new value counts for one part in so many. */
const MEMORY = 32;

/**
 * What jobs of a queue take an engine (ms), by what their workers signed, as a mean that forgets. A worker
 * can sign any times; what follows from them is how its own pool is handed jobs.
 */
export class ServiceTimes {
  readonly #means = new Map<string, number>();

  note(queue: string, ms: number): void {
    const mean = this.#means.get(queue);
    this.#means.set(queue, mean === undefined ? ms : mean + (ms - mean) / MEMORY);
  }

  /** The mean (ms), or undefined where nothing of this queue was confirmed yet. */
  of(queue: string): number | undefined {
    return this.#means.get(queue);
  }
}
