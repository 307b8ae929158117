interface Call<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers the calls of one turn of the event loop into one call of `run`. Under load a batch fills by itself;
 * a single call waits only for the end of the turn. `run` gets at most `maxItems` items and returns one
 * result for each, in their order and none of them undefined. What it throws rejects every call of its batch.
 */
export class Coalescer<Item, Result> {
  readonly #maxItems: number;
  readonly #run: (items: Item[]) => Promise<Result[]>;
  readonly #waiting: Call<Item, Result>[] = [];
  #scheduled = false;

  constructor(maxItems: number, run: (items: Item[]) => Promise<Result[]>) {
    this.#maxItems = maxItems;
    this.#run = run;
  }

  /** The result for this item. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        while (this.#waiting.length > 0) void this.#flush(this.#waiting.splice(0, this.#maxItems));
      });
    });
  }

  async #flush(calls: Call<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#run(calls.map((call) => call.item));
      calls.forEach((call, index) => {
        const result = results[index];
        if (result === undefined) call.reject(new Error('The batch returned fewer results than it got items.'));
        else call.resolve(result);
      });
    } catch (error) {
      for (const call of calls) call.reject(error);
    }
  }
}
