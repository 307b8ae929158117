/** Priorities reach from -10 to 10: a higher one goes first. */
export const HIGHEST_PRIORITY = 10;
/** More than any time in ms that a deadline can be. */
const STEP = 1e14;

/**
 * Where a job stands among those of its flow: by priority, then by deadline (ms). The smaller number goes
 * first; scripts only compare it.
 */
export function rankOf(priority: number, deadlineMs: number): number {
  return (HIGHEST_PRIORITY - priority) * STEP + deadlineMs;
}

/** The priority in a rank. */
export function priorityOf(rank: number): number {
  return HIGHEST_PRIORITY - Math.floor(rank / STEP);
}
