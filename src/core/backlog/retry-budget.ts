/** The name of the budget where limits stand; see retry-budget.lua. */
export const RETRIES = '~retry';
/** A retry is earned by so many first tries. */
const RETRY_SHARE = 0.1;
/** So many are kept at the most, or as many as there are slots; a queue begins with them. */
export const MOST_RETRIES = 100;

/** What is left of a queue's budget after so many jobs were released for the first time. */
export function retriesEarned(left: number, firsts: number, slots: number): number {
  return Math.min(Math.max(MOST_RETRIES, slots, left), left + RETRY_SHARE * firsts);
}
