/** How long (ms) the pace of attestors is remembered. */
const MEMORY_MS = 5_000;
/** Before it was watched for so long, nothing is said. */
const WATCHED_MS = 2_000;
/** Fewer answers than this are on their way to their confirmation, and no backlog. */
export const BACKLOG = 256;
/** Attestors that confirm nothing are taken to confirm one answer in this time (ms). */
const SLOWEST_MS = 1_000;

/**
 * How fast attestors confirm, as the log grows, and so how long an answer waits that is given now: what is
 * learned from jobs that were confirmed says nothing yet of a backlog that grows.
 */
export class ConfirmationPace {
  #firstMs: number | undefined;
  #lastMs = 0;
  #size = 0;
  #perMs = 0;

  /** The log had this size at this time, by Redis' clock. What is not later than before says nothing. */
  note(atMs: number, size: number): void {
    if (this.#firstMs === undefined) {
      this.#firstMs = atMs;
      [this.#lastMs, this.#size] = [atMs, size];
      return;
    }
    const elapsedMs = atMs - this.#lastMs;
    if (elapsedMs <= 0) return;
    const forgotten = 1 - Math.exp(-elapsedMs / MEMORY_MS);
    this.#perMs += (Math.max(0, size - this.#size) / elapsedMs - this.#perMs) * forgotten;
    [this.#lastMs, this.#size] = [atMs, size];
  }

  /** How long (ms) the last of so many answers waits for its confirmation; 0 where they are no backlog. */
  waitMs(unconfirmed: number): number {
    const watchedMs = this.#lastMs - (this.#firstMs ?? this.#lastMs);
    if (unconfirmed < BACKLOG || watchedMs < WATCHED_MS) return 0;
    // What was not watched yet is not taken for slow.
    const perMs = this.#perMs / (1 - Math.exp(-watchedMs / MEMORY_MS));
    return unconfirmed / Math.max(perMs, 1 / SLOWEST_MS);
  }
}
