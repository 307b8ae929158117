/** Weight of the newest job in the average. */
const NEWEST_WEIGHT = 0.1;

/**
 * The moving average of durations after one more, in ms: an exponentially weighted one that begins with the
 * first. A duration that is not a number or negative, as skewed clocks produce, changes nothing.
 */
export function recentAverage(before: number | undefined, durationMs: number): number | undefined {
  if (!Number.isFinite(durationMs) || durationMs < 0) return before;
  return before === undefined ? durationMs : before + NEWEST_WEIGHT * (durationMs - before);
}
