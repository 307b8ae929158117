/** What waits in a line for each tenant, and is taken in turns: one of each, and then the next of each. */
export class TurnsByTenant<Item> {
  readonly #longest: number;
  /** The lines that are not empty; the first is the one whose turn it is. */
  readonly #lines = new Map<string, Item[]>();

  /** `longest`: no line becomes longer. */
  constructor(longest: number) {
    this.#longest = longest;
  }

  get isEmpty(): boolean {
    return this.#lines.size === 0;
  }

  /** Puts it at the end of its tenant's line; false where that is full. */
  add(tenant: string, item: Item): boolean {
    const line = this.#lines.get(tenant) ?? [];
    if (line.length >= this.#longest) return false;
    line.push(item);
    this.#lines.set(tenant, line);
    return true;
  }

  /** The next ones, at most so many. The turn is then that of whoever would have been next. */
  take(most: number): Item[] {
    const taken: Item[] = [];
    // Whoever had its turn goes behind all others, and the loop comes to it again.
    for (const [tenant, line] of this.#lines) {
      if (taken.length >= most) break;
      taken.push(...line.splice(0, 1));
      this.#lines.delete(tenant);
      if (line.length > 0) this.#lines.set(tenant, line);
    }
    return taken;
  }

  clear(): void {
    this.#lines.clear();
  }
}
