/**
 * Clocks of time zones, by the database that Node.js brings along. A clock time is a number: the milliseconds
 * since 1970 that UTC would have when its clock shows this time.
 */

const DAY_MS = 86_400_000;
/** Clocks differ from UTC by less than this; so does a clock before and after it is changed. */
const REACH_MS = 16 * 3_600_000;

const formats = new Map<string, Intl.DateTimeFormat>();
const MAX_FORMATS = 1_000;

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  if (formats.size >= MAX_FORMATS) formats.clear();
  formats.set(zone, format);
  return format;
}

/**
 * Whether this is the name of a time zone, such as `Europe/Berlin` or `UTC`. Offsets such as `+01:00` are
 * none: they know no summer time, and who writes one may not know that.
 */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/.test(name) || name.length > 64) return false;
  try {
    formatOf(name);
    return true;
  } catch {
    return false;
  }
}

/** The time that the clock of a zone shows at an instant, to the second. */
export function clockAt(zone: string, instantMs: number): number {
  const found: Record<string, number> = {};
  for (const { type, value } of formatOf(zone).formatToParts(instantMs)) found[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = found;
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** How far the clock of a zone is ahead of UTC, ms, at an instant. */
function aheadAt(zone: string, instantMs: number): number {
  const whole = Math.floor(instantMs / 1_000) * 1_000;
  return clockAt(zone, whole) - whole;
}

/** The instants of a clock time: one, or two where the clock was set back over it, the earlier first. */
export interface Moments {
  readonly instants: readonly number[];
  /** Where the clock was set forward over this time, so that it never shows it: when that was. */
  readonly skippedAtMs: number | undefined;
}

/**
 * How the clock of a zone goes on one day of the calendar. Where it is not set on that day, nor near it: how
 * far it is ahead of UTC, ms. Else what turns a clock time of this day into instants.
 */
export function clockOfDay(zone: string, dayMs: number): number | ((clockMs: number) => Moments) {
  const before = aheadAt(zone, dayMs - REACH_MS);
  const after = aheadAt(zone, dayMs + DAY_MS + REACH_MS);
  if (before === after) return before;
  return (clockMs) => {
    // The larger lead makes the earlier instant.
    const instants = [clockMs - Math.max(before, after), clockMs - Math.min(before, after)].filter(
      (instant) => instant + aheadAt(zone, instant) === clockMs,
    );
    return { instants, skippedAtMs: instants.length > 0 ? undefined : changeNear(zone, clockMs, before, after) };
  };
}

/**
 * When the clock was set forward over a time, by halving: before it shows an earlier time, after it a later.
 */
function changeNear(zone: string, clockMs: number, before: number, after: number): number {
  let [low, high] = [clockMs - Math.max(before, after), clockMs - Math.min(before, after)];
  while (high - low > 1_000) {
    const middle = Math.floor((low + high) / 2_000) * 1_000;
    if (middle + aheadAt(zone, middle) < clockMs) low = middle;
    else high = middle;
  }
  return high;
}
