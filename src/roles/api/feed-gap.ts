/**
 * Where a feed goes on after a gap: with its oldest event, by its id, or "" where none is kept; undefined
 * where nothing after `last` is missing. Ids are those of a stream in Redis, `ms-number`. An id older than
 * the oldest says that others may have gone with it, one newer than the newest that Redis has lost what it
 * had.
 */
export function gapAfter(last: string, oldest: string | undefined, newest: string | undefined): string | undefined {
  if (oldest === undefined || newest === undefined) return '';
  return isLess(last, oldest) || isLess(newest, last) ? oldest : undefined;
}

/** The id right before this one. */
export function before(id: string): string {
  const [ms = 0n, number = 0n] = id.split('-').map(BigInt);
  if (number > 0n) return `${ms}-${number - 1n}`;
  return ms > 0n ? `${ms - 1n}-18446744073709551615` : '0-0';
}

function isLess(a: string, b: string): boolean {
  const [aMs = 0n, aNumber = 0n] = a.split('-').map(BigInt);
  const [bMs = 0n, bNumber = 0n] = b.split('-').map(BigInt);
  return aMs < bMs || (aMs === bMs && aNumber < bNumber);
}
