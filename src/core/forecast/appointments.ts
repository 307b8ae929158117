const LONGEST_MS = 600_000;
const SOONEST_MS = 50;
/** So many come back a little later than they were told, by up to this share of the time. */
const JITTER = 0.1;
const MOST_FLOWS = 10_000;

/** What is known of a refused job. Times in ms. */
export interface Refused {
  readonly flow: string;
  /** By how much its start was too late. */
  readonly excessMs: number;
  /** How long its flow's share of the workers takes for it. */
  readonly turnMs: number;
}

/**
 * When refused callers may come back. Each refusal of a flow gets the next place at the rate at which that
 * flow is served, so that those who obey come back one after the other and find room. It is no reservation.
 * Each process gives its own.
 */
export class Appointments {
  /** The last appointment of each flow (ms), the flow that was refused last at the end. */
  readonly #last = new Map<string, number>();

  /** After how many ms to come back. `random` is 0 to 1. */
  give({ flow, excessMs, turnMs }: Refused, nowMs: number, random: number): number {
    const free = Math.max(this.#last.get(flow) ?? 0, nowMs + Math.max(SOONEST_MS, excessMs));
    const at = Math.min(nowMs + LONGEST_MS, free + turnMs);
    this.#last.delete(flow);
    this.#last.set(flow, at);
    for (const [name, last] of this.#last) {
      if (last > nowMs && this.#last.size <= MOST_FLOWS) break;
      this.#last.delete(name);
    }
    return Math.ceil((at - nowMs) * (1 + JITTER * random));
  }
}
