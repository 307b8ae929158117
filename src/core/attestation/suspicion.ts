/**
 * A sequential test for each worker and model (CUSUM; Page, 1954). Findings of the slow methods raise or
 * lower a score, and a worker whose score passes the limit is quarantined. One flag is never enough: honest
 * machines are flagged now and then.
 */

/** Honest workers are flagged in no more of their checks. */
const HONEST_FLAGS = 0.005;
/** A worker that is flagged in so many of its checks is to be found. */
const CHEATING_FLAGS = 0.05;
/** Higher finds later and accuses fewer; see the simulation in the benchmarks. */
export const QUARANTINE_AT = 12;

/** What a flagged check adds to the score: the logarithm of the likelihood ratio. */
export const FLAG_WEIGHT = Math.log(CHEATING_FLAGS / HONEST_FLAGS);
/** What a check that held takes off it. */
export const PASS_WEIGHT = Math.log((1 - CHEATING_FLAGS) / (1 - HONEST_FLAGS));

/** The score after one more finding; it never falls below 0, so that a good past hides no bad present. */
export function suspicionAfter(score: number, isFlagged: boolean): number {
  return Math.max(0, score + (isFlagged ? FLAG_WEIGHT : PASS_WEIGHT));
}
