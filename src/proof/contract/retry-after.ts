/**
 * How many seconds a `Retry-After` asks to wait, as RFC 9110 writes it: a number, or a date, which is counted
 * from `nowMs` and is 0 where it has passed. Undefined where it is neither.
 */
export function parseRetryAfter(header: string | null | undefined, nowMs: number): number | undefined {
  const text = header?.trim() ?? '';
  if (/^\d{1,9}(\.\d{1,9})?$/.test(text)) return Number(text);
  // A date has a name of a month in all three forms; whatever else Date.parse takes is none.
  const atMs = /[A-Za-z]{3}/.test(text) && /\d\d:\d\d:\d\d/.test(text) ? Date.parse(asDate(text)) : NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, Math.ceil((atMs - nowMs) / 1_000));
}

/** The oldest of the three forms, of C's asctime, names no zone and means UTC. */
function asDate(text: string): string {
  return /GMT$|UTC$|[+-]\d{4}$/i.test(text) ? text : `${text} GMT`;
}
