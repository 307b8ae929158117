const FIRST_MS = 1_000;
/** The longest pause between two tries of what fails again and again. */
export const LONGEST_PAUSE_MS = 60_000;

/**
 * How long to wait (ms) after so many failures in a row: a second, then twice as long each time, up to a
 * minute.
 */
export function growingPause(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_MS * 2 ** Math.min(Math.max(failures - 1, 0), 16));
}

/** What has stood so long (ms) is not something that keeps ending. */
const STEADY_MS = 60_000;

/** The pauses before something that ends again and again is started again. */
export class RestartPauses {
  #failures = 0;

  /** How long to wait (ms) now that it has ended after standing for `stoodMs`. */
  after(stoodMs: number): number {
    this.#failures = stoodMs >= STEADY_MS ? 1 : this.#failures + 1;
    return growingPause(this.#failures);
  }
}
