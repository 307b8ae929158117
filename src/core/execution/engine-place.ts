/** One place of an engine. Whoever takes it waits until all who took it before have left. */
export class EnginePlace {
  #last: Promise<unknown> = Promise.resolve();

  /** Does this work in the place, and returns what it returns. Any number of calls at once. */
  take<Result>(work: () => Promise<Result>): Promise<Result> {
    const taken = this.#last.then(work);
    this.#last = taken.catch(() => undefined);
    return taken;
  }
}
