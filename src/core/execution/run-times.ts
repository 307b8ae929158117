/** A mean of the last many runs: a new one counts for one part in so many. */
const MEMORY = 16;
/** After so many runs the shortest of them says something of the next. */
const ENOUGH = 100;
/** No run is expected to be shorter than this share of the shortest of the last many. */
const LEAST = 0.5;
/** How fast the shortest is forgotten: it doubles in some 350 runs that were longer. */
const FORGETS = 1.002;

interface Runs {
  readonly count: number;
  readonly meanMs: number;
  readonly shortestMs: number;
}

/** What runs of each model have taken in this process. */
export class RunTimes {
  readonly #runs = new Map<string, Runs>();

  note(model: string, ms: number): void {
    const { count, meanMs, shortestMs } = this.#runs.get(model) ?? { count: 0, meanMs: ms, shortestMs: ms };
    this.#runs.set(model, {
      count: count + 1,
      meanMs: meanMs + (ms - meanMs) / MEMORY,
      shortestMs: Math.min(ms, shortestMs * FORGETS),
    });
  }

  /** A mean that forgets (ms); undefined before the first run. */
  meanMs(model: string): number | undefined {
    return this.#runs.get(model)?.meanMs;
  }

  /** What any run takes at the least (ms); 0 where too little is known to say so. */
  leastMs(model: string): number {
    const runs = this.#runs.get(model);
    return runs === undefined || runs.count < ENOUGH ? 0 : LEAST * runs.shortestMs;
  }
}
