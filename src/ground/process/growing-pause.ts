const FIRST_MS = 1_000;
/** The longest pause between two tries of what fails again and again. */
export const LONGEST_PAUSE_MS = 60_000;

/** How long to wait (ms) after so many failures in a row: a second, then twice as long each time, up to a minute. */
export function growingPause(failures: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_MS * 2 ** Math.min(Math.max(failures - 1, 0), 16));
}
