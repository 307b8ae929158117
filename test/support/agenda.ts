interface SimulatedEvent {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** Events by time; of those at the same time, the one that was entered first. */
export class Agenda {
  readonly #heap: SimulatedEvent[] = [];
  #order = 0;

  add(atMs: number, run: () => void): void {
    const heap = this.#heap;
    heap.push({ atMs, order: (this.#order += 1), run });
    for (let at = heap.length - 1; at > 0;) {
      const parent = (at - 1) >> 1;
      if (!this.#swapIfLater(parent, at)) break;
      at = parent;
    }
  }

  next(): SimulatedEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const child = left + 1 < heap.length && this.#isLater(left, left + 1) ? left + 1 : left;
      if (!this.#swapIfLater(at, child)) break;
      at = child;
    }
    return first;
  }

  #isLater(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return false;
    return a.atMs > b.atMs || (a.atMs === b.atMs && a.order > b.order);
  }

  #swapIfLater(one: number, other: number): boolean {
    if (!this.#isLater(one, other)) return false;
    const [a, b] = [this.#heap[one], this.#heap[other]];
    if (a === undefined || b === undefined) return false;
    this.#heap[one] = b;
    this.#heap[other] = a;
    return true;
  }
}
