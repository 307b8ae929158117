/** Something that looks again and again at what has to be found, mended or forgotten. */
interface Keeper {
  start(): void;
  stop(): Promise<void>;
}

/** What an attestor does beside confirming; each by itself, and none waits for another. */
export class Housekeeping {
  readonly #keepers: readonly Keeper[];

  constructor(...keepers: readonly Keeper[]) {
    this.#keepers = keepers;
  }

  start(): void {
    for (const keeper of this.#keepers) keeper.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#keepers.map((keeper) => keeper.stop()));
  }
}
