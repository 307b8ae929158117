import { isNamedDay, type CronExpression } from './cron-expression.ts';
import { clockAt, clockOfDay } from './time-zone.ts';

/**
 * When a cron expression is due, as instants. The clocks of most zones are set twice a year, and an
 * expression that names clock times must say what that means:
 *
 * - An expression that names every hour goes by real time: it is due whenever the clock shows one of its
 *   times, so no more and no less often on the days on which the clock is set.
 * - Any other expression is due once for each of its times of each of its days. A time that the clock shows
 *   twice is due the first time. A time that the clock is set forward over is due when it is set; several
 *   such times, once.
 */
export interface CronClock {
  readonly cron: CronExpression;
  /** An IANA name. */
  readonly zone: string;
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** The 29th of February can be eight years away (2096 to 2104); what is not due until then never is. */
const MAX_DAYS = 3_000;
/** An instant can belong to a day of the calendar that the clock shows no more, or not yet. */
const NEIGHBOURS = 2;

/** The first due time after `afterMs`, or undefined where there is none for eight years. */
export function nextDue(clock: CronClock, afterMs: number): number | undefined {
  return nextDues(clock, afterMs, 1)[0];
}

/** The first few due times after `afterMs`, in order; fewer where there are no more within eight years. */
export function nextDues(clock: CronClock, afterMs: number, most: number): number[] {
  const first = dayOf(clock.zone, afterMs) - NEIGHBOURS * DAY_MS;
  let found: number[] = [];
  // Days of which a neighbour has enough already cannot have an earlier one beyond that neighbour.
  for (let day = 0, enoughSince = 0; day < MAX_DAYS && enoughSince <= NEIGHBOURS; day += 1) {
    const last = found.length < most ? Infinity : (found.at(-1) ?? Infinity);
    const dues = duesOfDay(clock, first + day * DAY_MS, { fromMs: afterMs + 1, toMs: last });
    found = [...new Set([...found, ...dues])].toSorted((a, b) => a - b).slice(0, most);
    if (found.length >= most) enoughSince += 1;
  }
  return found;
}

/** The last due time in the span from `fromMs` to `toMs`, both included; undefined where there is none. */
export function lastDue(clock: CronClock, fromMs: number, toMs: number): number | undefined {
  const newest = dayOf(clock.zone, toMs) + NEIGHBOURS * DAY_MS;
  const oldest = dayOf(clock.zone, fromMs) - NEIGHBOURS * DAY_MS;
  let found: number | undefined;
  for (let day = newest, since = 0; day >= oldest && since <= NEIGHBOURS; day -= DAY_MS) {
    for (const instant of duesOfDay(clock, day, { fromMs: found ?? fromMs, toMs }))
      found = Math.max(found ?? instant, instant);
    if (found !== undefined) since += 1;
  }
  return found;
}

/** The day that the clock of the zone shows, as the clock time of its midnight. */
function dayOf(zone: string, instantMs: number): number {
  return Math.floor(clockAt(zone, instantMs) / DAY_MS) * DAY_MS;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** The due times of one day of the calendar that lie in a span, its ends included. */
function duesOfDay({ cron, zone }: CronClock, dayMs: number, { fromMs, toMs }: Span): number[] {
  const date = new Date(dayMs);
  const day = { month: date.getUTCMonth() + 1, day: date.getUTCDate(), weekday: date.getUTCDay() };
  if (!isNamedDay(cron, day)) return [];
  const isByRealTime = cron.hours.length === 24;
  const isInSpan = (instant: number) => instant >= fromMs && instant <= toMs;
  const clock = clockOfDay(zone, dayMs);
  return cron.hours.flatMap((hour) => {
    const hourMs = dayMs + hour * HOUR_MS;
    // Most days are far from any change, and most of their hours from the span.
    if (typeof clock === 'number' && (hourMs - clock > toMs || hourMs - clock + HOUR_MS <= fromMs)) return [];
    const times = cron.minutes.map((minute) => hourMs + minute * MINUTE_MS);
    if (typeof clock === 'number') return times.map((time) => time - clock).filter(isInSpan);
    return times.flatMap((time) => {
      const { instants, skippedAtMs } = clock(time);
      const due = isByRealTime ? instants : skippedAtMs === undefined ? instants.slice(0, 1) : [skippedAtMs];
      return due.filter(isInSpan);
    });
  });
}
