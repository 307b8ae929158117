import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isNamedDay, parseCron, type CronExpression } from './cron-expression.ts';
import { lastDue, nextDue, nextDues } from './due-times.ts';
import { clockAt, isTimeZone } from './time-zone.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

const dues = (expression: string, zone: string, after: string, most: number) =>
  nextDues({ cron: parseCron(expression), zone }, Date.parse(after), most).map((ms) =>
    new Date(ms).toISOString().replace(':00.000Z', 'Z'),
  );

describe('the clock is set forward', () => {
  test.each([
    [
      'a time that there is not is due when the clock is set',
      '30 2 * * *',
      'Europe/Berlin',
      '2026-03-28T12:00Z',
      ['2026-03-29T01:00Z', '2026-03-30T00:30Z'],
    ],
    [
      'several of them are due once',
      '15,45 2 * * *',
      'Europe/Berlin',
      '2026-03-28T12:00Z',
      ['2026-03-29T01:00Z', '2026-03-30T00:15Z'],
    ],
    [
      'one that falls on the change is not due twice',
      '30 2,3 * * *',
      'America/New_York',
      '2026-03-08T00:00Z',
      ['2026-03-08T07:00Z', '2026-03-08T07:30Z'],
    ],
    [
      'every hour: nothing is missing and nothing comes twice',
      '30 * * * *',
      'Europe/Berlin',
      '2026-03-28T23:45Z',
      ['2026-03-29T00:30Z', '2026-03-29T01:30Z', '2026-03-29T02:30Z'],
    ],
    [
      'midnight is skipped',
      '@daily',
      'America/Santiago',
      '2026-09-05T12:00Z',
      ['2026-09-06T04:00Z', '2026-09-07T03:00Z'],
    ],
    [
      'by half an hour',
      '15 2 * * *',
      'Australia/Lord_Howe',
      '2026-10-03T00:00Z',
      ['2026-10-03T15:30Z', '2026-10-04T15:15Z'],
    ],
    [
      'by half an hour, every ten minutes',
      '*/10 * * * *',
      'Australia/Lord_Howe',
      '2026-10-03T15:10Z',
      ['2026-10-03T15:20Z', '2026-10-03T15:30Z', '2026-10-03T15:40Z'],
    ],
    [
      'a whole day is skipped',
      '0 12 30 12 *',
      'Pacific/Apia',
      '2011-12-01T00:00Z',
      ['2011-12-30T10:00Z', '2012-12-29T22:00Z'],
    ],
  ])('%s', (_, expression, zone, after, expected) => {
    expect(dues(expression, zone, after, expected.length)).toEqual(expected);
  });
});

describe('the clock is set back', () => {
  test.each([
    [
      'a time that there is twice is due the first time',
      '30 2 * * *',
      'Europe/Berlin',
      '2026-10-24T12:00Z',
      ['2026-10-25T00:30Z', '2026-10-26T01:30Z'],
    ],
    ['also seen from between the two', '30 2 * * *', 'Europe/Berlin', '2026-10-25T00:45Z', ['2026-10-26T01:30Z']],
    [
      'every hour goes by real time',
      '30 * * * *',
      'Europe/Berlin',
      '2026-10-25T00:00Z',
      ['2026-10-25T00:30Z', '2026-10-25T01:30Z', '2026-10-25T02:30Z'],
    ],
    [
      'over midnight',
      '30 23 * * *',
      'America/Santiago',
      '2026-04-04T12:00Z',
      ['2026-04-05T02:30Z', '2026-04-06T03:30Z'],
    ],
    [
      'by half an hour',
      '45 1 * * *',
      'Australia/Lord_Howe',
      '2026-04-04T00:00Z',
      ['2026-04-04T14:45Z', '2026-04-05T15:15Z'],
    ],
  ])('%s', (_, expression, zone, after, expected) => {
    expect(dues(expression, zone, after, expected.length)).toEqual(expected);
  });
});

describe('the calendar', () => {
  test.each([
    [
      'day of month and weekday: either',
      '0 0 13 * 5',
      '2026-01-01T00:00Z',
      ['2026-01-02T00:00Z', '2026-01-09T00:00Z', '2026-01-13T00:00Z'],
    ],
    ['Sunday is 0 and 7', '0 0 * * 7', '2026-01-01T00:00Z', ['2026-01-04T00:00Z']],
    ['names', '0 0 * feb-mar SUN,fri', '2026-01-31T00:00Z', ['2026-02-01T00:00Z', '2026-02-06T00:00Z']],
    [
      'the 31st of the months that have one',
      '0 0 31 * *',
      '2026-01-31T00:00Z',
      ['2026-03-31T00:00Z', '2026-05-31T00:00Z'],
    ],
    ['the 29th of February, eight years on', '0 0 29 2 *', '2096-03-01T00:00Z', ['2104-02-29T00:00Z']],
    ['a day that never is', '0 0 31 4,6 *', '2026-01-01T00:00Z', []],
    ['a step', '5-59/20 9-17/4 * * *', '2026-01-01T09:25Z', ['2026-01-01T09:45Z', '2026-01-01T13:05Z']],
  ])('%s', (_, expression, after, expected) => {
    expect(dues(expression, 'UTC', after, Math.max(1, expected.length))).toEqual(expected);
  });

  test.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '5-1 * * * *',
    '*/0 * * * *',
    '1,,2 * * * *',
    '1-5-9 * * * *',
    '1/2/3 * * * *',
    '0 0 31 2 *',
    '0 0 L * *',
    '0 0 * * 5L',
    '0 0 * * 1#2',
    'H * * * *',
    '? * * * *',
    '@secondly',
    '@every 5m',
    '* * * * foo',
    'mon * * * *',
    '-1 * * * *',
    '1.5 * * * *',
    '\0 * * * *',
    `${'1,'.repeat(200)}1 * * * *`,
  ])('refused with a sentence: %#', (expression) => {
    expect(() => parseCron(expression)).toThrow(/^(must be five fields|cannot be read: )/);
  });

  test.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5'])('%s is a time zone', (zone) => {
    expect(isTimeZone(zone)).toBe(true);
  });
  test.each(['', '+01:00', '-0500', 'Europe/', 'Mars/Olympus', '../etc/passwd', 'Europe/Berlin\n', 'x'.repeat(1_000)])(
    'no time zone: %#',
    (zone) => {
      expect(isTimeZone(zone)).toBe(false);
    },
  );
});

/** Zones whose clocks are set by an hour, by half an hour, by a day, at midnight, at odd times, and never. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'Europe/Dublin',
  'America/New_York',
  'America/St_Johns',
  'America/Santiago',
  'America/Havana',
  'Atlantic/Azores',
  'Australia/Lord_Howe',
  'Africa/Casablanca',
  'Asia/Kathmandu',
  'Asia/Beirut',
  'Pacific/Apia',
  'Pacific/Chatham',
  'Antarctica/Troll',
  'America/Scoresbysund',
];

/**
 * The same, found by walking through every minute of real time with the zone's clock in sight: what the
 * arithmetic must agree with. Only clocks that are set at whole minutes can be walked so.
 */
function walked(cron: CronExpression, zone: string, fromMs: number, toMs: number): number[] {
  const isNamed = (clockMs: number) => {
    const date = new Date(clockMs);
    const day = { month: date.getUTCMonth() + 1, day: date.getUTCDate(), weekday: date.getUTCDay() };
    return (
      isNamedDay(cron, day) && cron.hours.includes(date.getUTCHours()) && cron.minutes.includes(date.getUTCMinutes())
    );
  };
  const isByRealTime = cron.hours.length === 24;
  const shown = new Set<number>();
  const found: number[] = [];
  // What the clock showed before the span is known by looking back over a day.
  let last = clockAt(zone, fromMs - DAY_MS - MINUTE_MS);
  for (let ms = fromMs - DAY_MS; ms <= toMs; ms += MINUTE_MS) {
    const now = clockAt(zone, ms);
    const over: number[] = [];
    for (let clock = last + MINUTE_MS; clock < now; clock += MINUTE_MS) over.push(clock);
    const isDue = isByRealTime
      ? isNamed(now)
      : (isNamed(now) && !shown.has(now)) || over.some((clock) => isNamed(clock) && !shown.has(clock));
    shown.add(now);
    last = now;
    if (isDue && ms > fromMs) found.push(ms);
  }
  return found;
}

const listOf = (max: number, min = 0) =>
  fc.oneof(
    fc.constant('*'),
    fc.integer({ min, max }).map(String),
    fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 4 }).map((all) => all.join(',')),
    fc.integer({ min: 1, max: Math.max(1, Math.floor(max / 2)) }).map((step) => `*/${step}`),
    fc.tuple(fc.integer({ min, max }), fc.integer({ min, max })).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`),
  );
const Expression = fc
  .tuple(
    listOf(59),
    listOf(23),
    fc.oneof({ weight: 3, arbitrary: fc.constant('*') }, { weight: 1, arbitrary: listOf(28, 1) }),
    fc.constant('*'),
    fc.oneof({ weight: 3, arbitrary: fc.constant('*') }, { weight: 1, arbitrary: listOf(6) }),
  )
  .map((fields) => fields.join(' '));

/** Where clocks are set, of the years around now: a span that a walk can afford must meet one of them. */
function changesOf(zone: string): number[] {
  const found: number[] = [];
  const [from, to] = [Date.UTC(2011, 0, 1), Date.UTC(2030, 0, 1)];
  let ahead = clockAt(zone, from) - from;
  for (let ms = from; ms < to; ms += 6 * HOUR_MS) {
    const now = clockAt(zone, ms) - ms;
    if (now !== ahead) found.push(ms);
    ahead = now;
  }
  return found.length > 0 ? found : [Date.UTC(2026, 2, 29)];
}
const CHANGES = new Map(ZONES.map((zone) => [zone, changesOf(zone)]));

test('around every change of a clock, the due times are those that a walk through the minutes meets', () => {
  fc.assert(
    fc.property(
      Expression,
      fc.constantFrom(...ZONES),
      fc.nat(),
      fc.integer({ min: 0, max: 2 * 24 * 60 }),
      (expression, zone, pick, before) => {
        const changes = CHANGES.get(zone) ?? [];
        const fromMs = (changes[pick % changes.length] ?? 0) - before * MINUTE_MS;
        const toMs = fromMs + 3 * DAY_MS;
        const clock = { cron: parseCron(expression), zone };
        const expected = walked(clock.cron, zone, fromMs, toMs);
        expect(nextDues(clock, fromMs, expected.length + 1).filter((ms) => ms <= toMs)).toEqual(expected);
        expect(lastDue(clock, fromMs + 1, toMs)).toBe(expected.at(-1));
      },
    ),
    { numRuns: 25 },
  );
});

test('one due time after the other is the list of due times', () => {
  fc.assert(
    fc.property(
      Expression,
      fc.constantFrom(...ZONES),
      fc.integer({ min: Date.UTC(2020, 0), max: Date.UTC(2030, 0) }),
      (expression, zone, fromMs) => {
        const clock = { cron: parseCron(expression), zone };
        const all = nextDues(clock, fromMs, 20);
        let after: number | undefined = fromMs;
        for (const expected of all) {
          after = nextDue(clock, after);
          expect(after).toBe(expected);
          if (after === undefined) return;
        }
      },
    ),
    { numRuns: 25 },
  );
});
