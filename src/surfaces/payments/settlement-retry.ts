const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 60_000;

/** How long to wait after a settlement got no answer, in ms: twice as long each time, up to a minute. */
export function settlementRetryMs(earlierTries: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** earlierTries, MAX_RETRY_MS);
}
