interface Call<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Gathers calls into batches that clock themselves: while one batch is under way, what comes gathers for the
 * next, so that a batch is as large as the load makes it. A single call waits only for the end of its turn of
 * the event loop; a full batch waits for no other. `run` gets at most `maxItems` items and returns one result
 * for each, in their order and none of them undefined. What it throws rejects every call of its batch.
 */
export class Coalescer<Item, Result> {
  readonly #maxItems: number;
  readonly #run: (items: Item[]) => Promise<Result[]>;
  readonly #waiting: Call<Item, Result>[] = [];
  #isScheduled = false;
  #underWay = 0;

  constructor(maxItems: number, run: (items: Item[]) => Promise<Result[]>) {
    this.#maxItems = maxItems;
    this.#run = run;
  }

  /** The result for this item. */
  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      while (this.#waiting.length >= this.#maxItems) void this.#flush();
      if (this.#waiting.length > 0 && this.#underWay === 0) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const calls = this.#waiting.splice(0, this.#maxItems);
    this.#underWay += 1;
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
    this.#underWay -= 1;
    if (this.#waiting.length > 0) this.#schedule();
  }
}
