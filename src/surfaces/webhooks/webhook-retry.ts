import { parseRetryAfter } from '../../proof/contract/retry-after.ts';

const MAX_RETRY_AFTER_S = 86_400;
/**
 * An attempt comes later by up to this share of the wait, so that messages of one outage do not come back at
 * once.
 */
const JITTER = 0.1;

/**
 * How long to wait before the next attempt, in ms; undefined when the schedule is used up. `schedule` has the
 * seconds before each attempt, `attempts` counts those that were made, and `random` is from 0 to 1. A
 * receiver's `Retry-After` (seconds, or a date) makes the wait longer, up to a day, but never shorter.
 */
export function webhookRetryMs(
  schedule: readonly number[],
  attempts: number,
  retryAfter: string | undefined,
  random: number,
): number | undefined {
  const scheduledS = schedule[attempts];
  if (scheduledS === undefined) return undefined;
  const askedS = parseRetryAfter(retryAfter, Date.now()) ?? 0;
  const waitS = Math.max(scheduledS, Math.min(askedS, MAX_RETRY_AFTER_S));
  return waitS * 1_000 * (1 + random * JITTER);
}
