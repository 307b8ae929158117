interface Call<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers the calls of one turn of the event loop into one call. Under load a batch fills by itself; alone, a
 * call waits for nothing but the end of the turn. Results come back in the order of the items.
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
        if (result === undefined) call.reject(new Error('The batch answered for fewer items than it was given.'));
        else call.resolve(result);
      });
    } catch (error) {
      for (const call of calls) call.reject(error);
    }
  }
}
