/** Lets calls run beside each other, and some alone: these wait for the others, and the others for them. */
export class LoneTurns {
  /** Ends when the calls that run alone, up to the last one asked for, have ended. */
  #lone: Promise<unknown> = Promise.resolve();
  readonly #running = new Set<Promise<unknown>>();

  async beside<T>(call: () => Promise<T>): Promise<T> {
    for (let lone; lone !== this.#lone;) {
      lone = this.#lone;
      await lone;
    }
    const running = call();
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  alone<T>(call: () => Promise<T>): Promise<T> {
    const before = this.#lone;
    const turn = (async () => {
      await before;
      await Promise.allSettled(this.#running);
      return call();
    })();
    this.#lone = turn.catch(() => undefined);
    return turn;
  }
}
