import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nextDues } from './due-times.ts';
import {
  GRACE_MS,
  begin,
  change,
  dueFrom,
  duesAhead,
  isDue,
  lookMs,
  pause,
  resume,
  settle,
  skipBehind,
  take,
} from './schedule-moves.ts';
import { CATCH_UPS, MAX_RUNS, OVERLAPS, clockOf, stateOf, type Run, type Schedule } from './schedule.ts';

const MINUTE_MS = 60_000;
const NOON = Date.UTC(2026, 5, 1, 12);

function aSchedule(wishes: Partial<Schedule> = {}): Schedule {
  const schedule: Schedule = {
    id: 'sched_0123456789abcdef01234567',
    name: '',
    metadata: {},
    cron: '* * * * *',
    timezone: 'UTC',
    overlap: 'skip',
    catchUp: 'none',
    startMs: null,
    endMs: null,
    tenant: 'acme',
    keyId: 'key',
    createdMs: NOON,
    pausedMs: null,
    pausedBecause: null,
    nextMs: null,
    waiting: null,
    lastJob: null,
    request: { model: 'noop', task: 'completion', input: { prompt: 'x' } },
    runs: [],
    ...wishes,
  };
  return { ...schedule, nextMs: dueFrom(schedule, NOON + 1) };
}

/** A courier that takes what is due, submits it and writes that down. */
function ran(schedule: Schedule, nowMs: number, isLastOpen = false): Schedule {
  const taken = take(schedule, nowMs, isLastOpen);
  if (taken.waiting === null || taken.waiting.begunMs === null) return taken;
  const { dueMs } = taken.waiting;
  return settle(taken, { dueMs, atMs: nowMs, outcome: 'submitted', job: `job ${dueMs}` });
}

const told = (runs: readonly Run[]) =>
  runs.toReversed().map(({ dueMs, untilMs, outcome }) => {
    const minutes = (ms: number) => (ms - NOON) / MINUTE_MS;
    return untilMs === undefined ? `${outcome} ${minutes(dueMs)}` : `${outcome} ${minutes(dueMs)}-${minutes(untilMs)}`;
  });

describe('a courier comes late', () => {
  const late = NOON + 10 * MINUTE_MS + GRACE_MS / 2;

  test('the newest time is no longer than a minute ago: it counts as in time, those before it are missed', () => {
    const after = ran(aSchedule(), late);
    expect(told(after.runs)).toEqual(['missed 1-9', 'submitted 10']);
    expect(after.nextMs).toBe(NOON + 11 * MINUTE_MS);
  });

  test.each([
    ['none', ['missed 7']],
    ['newest', ['submitted 7']],
  ] as const)('an hour later, catching up with %s', (catchUp, expected) => {
    const after = ran(aSchedule({ cron: '7 12 * * *', catchUp }), NOON + 67 * MINUTE_MS);
    expect(told(after.runs)).toEqual(expected);
  });

  test('years later, one run tells of all that was missed', () => {
    const years = NOON + 3 * 365 * 86_400_000;
    const after = ran(aSchedule({ catchUp: 'newest', cron: '*/5 * * * *' }), years);
    expect(after.runs).toHaveLength(2);
    expect(after.runs[0]).toMatchObject({ outcome: 'submitted', dueMs: years });
  });
});

describe('the job before has not ended', () => {
  const at = NOON + MINUTE_MS;

  test('skip: this time is left out', () => {
    expect(told(ran(aSchedule({ overlap: 'skip' }), at, true).runs)).toEqual(['skipped 1']);
  });

  test('allow: both run', () => {
    expect(told(ran(aSchedule({ overlap: 'allow' }), at, true).runs)).toEqual(['submitted 1']);
  });

  test('queue: one waits behind it, and what comes then is left out', () => {
    const queued = ran(aSchedule({ overlap: 'queue' }), at, true);
    expect(queued.waiting).toEqual({ dueMs: at, begunMs: null, problem: null });
    const behind = skipBehind(queued, at + MINUTE_MS);
    expect(told(behind.runs)).toEqual(['skipped 2']);
    expect(begin(behind, at + 2 * MINUTE_MS).waiting).toMatchObject({ dueMs: at, begunMs: at + 2 * MINUTE_MS });
  });
});

describe('pausing and resuming', () => {
  test('what was due meanwhile is not made up for, and the key that resumes it is the one it runs under', () => {
    const paused = pause(aSchedule({ catchUp: 'newest' }), NOON, 'by its owner');
    expect([isDue(paused, NOON + MINUTE_MS), lookMs(paused, NOON), duesAhead(paused, 5)]).toEqual([
      false,
      undefined,
      [],
    ]);
    const resumed = resume(paused, NOON + 90.5 * MINUTE_MS, 'other');
    expect(resumed).toMatchObject({ keyId: 'other', nextMs: NOON + 91 * MINUTE_MS, pausedMs: null, runs: [] });
  });

  test('what waits for a job is dropped, what is being submitted is brought to its end', () => {
    const taken = take(aSchedule({ overlap: 'queue' }), NOON + MINUTE_MS, true);
    expect(told(pause(taken, NOON + MINUTE_MS, 'x').runs)).toEqual(['skipped 1']);
    const begun = pause(take(aSchedule(), NOON + MINUTE_MS, false), NOON + MINUTE_MS, 'x');
    expect(begun.waiting).not.toBeNull();
    expect(lookMs(begun, NOON + MINUTE_MS)).toBeDefined();
  });
});

describe('start and end', () => {
  test('nothing is due before the start or after the end, both included', () => {
    const schedule = aSchedule({ startMs: NOON + 5 * MINUTE_MS, endMs: NOON + 6 * MINUTE_MS });
    expect(schedule.nextMs).toBe(NOON + 5 * MINUTE_MS);
    const once = ran(schedule, NOON + 5 * MINUTE_MS);
    expect(once.nextMs).toBe(NOON + 6 * MINUTE_MS);
    const twice = ran(once, NOON + 6 * MINUTE_MS);
    expect([twice.nextMs, stateOf(twice), lookMs(twice, NOON)]).toEqual([null, 'ended', undefined]);
    expect(stateOf(change(twice, NOON + 7 * MINUTE_MS, { endMs: null }))).toBe('active');
  });

  test('a courier that comes after the end makes up for the last time before it', () => {
    const schedule = aSchedule({ endMs: NOON + 3.5 * MINUTE_MS, catchUp: 'newest' });
    expect(told(ran(schedule, NOON + 60 * MINUTE_MS).runs)).toEqual(['missed 1-2', 'submitted 3']);
  });

  test('other times hold from now on', () => {
    expect(change(aSchedule(), NOON + 30_000, { cron: '30 * * * *' }).nextMs).toBe(NOON + 30 * MINUTE_MS);
    expect(change(aSchedule(), NOON, { name: 'other' }).nextMs).toBe(aSchedule().nextMs);
  });
});

/** What happens to a schedule, in any order: time goes by, a courier looks or dies over it, a job ends. */
const Happening = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('look' as const), afterS: fc.nat(90) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('look' as const), afterS: fc.nat(20_000) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('dies' as const), afterS: fc.nat(90) }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant('ends' as const), afterS: fc.nat(90) }) },
);

test('several due times that pass behind one that waits are all left out', () => {
  const waits = { ...aSchedule({ overlap: 'queue' }), nextMs: NOON + 180_000 };
  const after = skipBehind(waits, NOON + 250_000);
  expect(after.runs).toMatchObject([{ dueMs: NOON + 180_000, untilMs: NOON + 240_000, outcome: 'skipped' }]);
  expect(after.nextMs).toBe(NOON + 300_000);
});

test('every due time is decided about once, in order, and at most one job is open where the policy says so', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...OVERLAPS),
      fc.constantFrom(...CATCH_UPS),
      fc.constantFrom('* * * * *', '*/3 * * * *', '0,1,30 * * * *', '17 * * * *'),
      fc.array(Happening, { maxLength: 60 }),
      (overlap, catchUp, cron, happenings) => {
        let schedule = aSchedule({ overlap, catchUp, cron });
        let nowMs = NOON;
        let open = new Set<string>();
        const runs: Run[] = [];
        const keep = (next: Schedule) => {
          runs.push(...next.runs.filter((run) => !schedule.runs.includes(run)).toReversed());
          schedule = next;
        };
        const look = (dies: boolean) => {
          const isLastOpen = open.has(schedule.lastJob ?? '');
          if (schedule.waiting === null && isDue(schedule, nowMs)) keep(take(schedule, nowMs, isLastOpen));
          else if (schedule.waiting?.begunMs === null && !isLastOpen) keep(begin(schedule, nowMs));
          else if (schedule.waiting?.begunMs === null && isDue(schedule, nowMs)) keep(skipBehind(schedule, nowMs));
          if (schedule.waiting?.begunMs == null) return;
          const { dueMs, begunMs } = schedule.waiting;
          // By its idempotency key: a courier that died may have made it.
          const job = `job ${dueMs}`;
          const isMade = runs.some((run) => run.job === job);
          expect(isMade).toBe(false);
          if (overlap !== 'allow') expect([...open].filter((one) => one !== job)).toEqual([]);
          if (catchUp === 'none' && overlap !== 'queue') expect(begunMs - dueMs).toBeLessThanOrEqual(GRACE_MS);
          open.add(job);
          if (!dies) keep(settle(schedule, { dueMs, atMs: nowMs, outcome: 'submitted', job }));
        };
        for (const { what, afterS } of happenings) {
          nowMs += afterS * 1_000;
          if (what === 'ends')
            open = new Set([...open].filter((job) => job === `job ${schedule.waiting?.dueMs ?? ''}`));
          else look(what === 'dies');
        }
        look(false);
        const decided = runs.flatMap(({ dueMs, untilMs = dueMs }) =>
          nextDues(clockOf(schedule), dueMs - 1, 2_000).filter((due) => due <= untilMs),
        );
        const until = schedule.nextMs ?? nowMs;
        const waits = schedule.waiting === null ? [] : [schedule.waiting.dueMs];
        const all = nextDues(clockOf(schedule), NOON, 2_000).filter((due) => due < until);
        expect([...decided, ...waits].toSorted((a, b) => a - b)).toEqual(all);
        expect(schedule.runs.length).toBeLessThanOrEqual(MAX_RUNS);
        const made = runs.filter(({ outcome }) => outcome === 'submitted').map(({ dueMs }) => dueMs);
        expect(made).toEqual(made.toSorted((a, b) => a - b));
      },
    ),
    { numRuns: 60 },
  );
});
