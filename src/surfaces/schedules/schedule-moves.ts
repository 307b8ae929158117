import { lastDue, nextDue, nextDues } from './due-times.ts';
import { MAX_RUNS, clockOf, type Run, type Schedule, type Wishes } from './schedule.ts';

/**
 * How a schedule goes from one state to the next. Everything here is a pure function of the schedule, the
 * time and what was found out; the store writes the result where nothing has changed meanwhile.
 */

/** A courier that comes this late, as after a restart, was not away. */
export const GRACE_MS = 60_000;
/**
 * A job's idempotency key is kept for a day. A submission that was begun this long ago and whose outcome
 * nobody knows is given up: a repetition could make a second job.
 */
export const GIVE_UP_MS = 23 * 3_600_000;
/** What may pass is tried again for so long, and not beyond the next due time. */
export const PATIENCE_MS = 3_600_000;
/** For so long a courier has a schedule to itself; another looks when it died. */
export const TAKEN_MS = 10_000;
/** How soon what was not accepted is tried again, and the end of a job is looked for. */
const AGAIN_MS = 1_000;

const WAS_AWAY = 'No courier ran at this time.';

/** The first due time from `fromMs` on, within the span of the schedule. */
export function dueFrom(schedule: Wishes, fromMs: number): number | null {
  const due = nextDue(clockOf(schedule), Math.max(fromMs, schedule.startMs ?? fromMs) - 1);
  return due === undefined || isOver(schedule, due) ? null : due;
}

/** The next due times, the first included that nothing was decided about. */
export function duesAhead(schedule: Schedule, most: number): number[] {
  const { nextMs, pausedMs } = schedule;
  if (nextMs === null || pausedMs !== null) return [];
  return nextDues(clockOf(schedule), nextMs - 1, most).filter((due) => !isOver(schedule, due));
}

const isOver = ({ endMs }: Wishes, due: number) => endMs !== null && due > endMs;

/** When a courier must look at a schedule again, by its own state; undefined where it need not. */
export function lookMs({ waiting, pausedMs, nextMs }: Schedule, nowMs: number): number | undefined {
  if (waiting !== null) return nowMs + AGAIN_MS;
  return pausedMs !== null ? undefined : (nextMs ?? undefined);
}

/** Whether something is due that nothing was decided about. */
export function isDue({ pausedMs, nextMs }: Schedule, nowMs: number): boolean {
  return pausedMs === null && nextMs !== null && nextMs <= nowMs;
}

/**
 * Decides about everything that is due: of several times the newest counts, and those before it were missed.
 * Call it where `isDue` and nothing waits. `isLastOpen`: whether the job of the last run has not ended.
 */
export function take(schedule: Schedule, nowMs: number, isLastOpen: boolean): Schedule {
  const oldest = schedule.nextMs ?? nowMs;
  const until = schedule.endMs === null ? nowMs : Math.min(nowMs, schedule.endMs);
  const newest = lastDue(clockOf(schedule), oldest, until) ?? oldest;
  const next = { ...schedule, nextMs: dueFrom(schedule, nowMs + 1) };
  const isMissed = nowMs - newest > GRACE_MS && schedule.catchUp === 'none';
  if (isMissed) return withRuns(next, [missed(oldest, newest, nowMs)]);
  const before = newest === oldest ? undefined : lastDue(clockOf(schedule), oldest, newest - 1);
  const runs = before === undefined ? [] : [missed(oldest, before, nowMs)];
  if (schedule.overlap === 'skip' && isLastOpen)
    return withRuns(next, [...runs, skipped(newest, nowMs, `The job ${schedule.lastJob ?? ''} has not ended.`)]);
  const begunMs = schedule.overlap === 'queue' && isLastOpen ? null : nowMs;
  return withRuns({ ...next, waiting: { dueMs: newest, begunMs, problem: null } }, runs);
}

/** All that is due while another due time waits for the end of a job is left out: one waits at most. */
export function skipBehind(schedule: Schedule, nowMs: number): Schedule {
  const oldest = schedule.nextMs ?? nowMs;
  const until = schedule.endMs === null ? nowMs : Math.min(nowMs, schedule.endMs);
  const newest = lastDue(clockOf(schedule), oldest, until) ?? oldest;
  return withRuns({ ...schedule, nextMs: dueFrom(schedule, nowMs + 1) }, [
    {
      ...skipped(oldest, nowMs, 'An earlier run waits already for the job before it.'),
      ...(newest === oldest ? {} : { untilMs: newest }),
    },
  ]);
}

/** The job before has ended: what waited is submitted now. */
export function begin(schedule: Schedule, nowMs: number): Schedule {
  return schedule.waiting === null ? schedule : { ...schedule, waiting: { ...schedule.waiting, begunMs: nowMs } };
}

/** What waits was not accepted for a reason that may pass. */
export function postpone(schedule: Schedule, problem: { readonly code: string; readonly detail: string }): Schedule {
  return schedule.waiting === null ? schedule : { ...schedule, waiting: { ...schedule.waiting, problem } };
}

/** What waited is done with: a job was made of it, or it never will be. */
export function settle(schedule: Schedule, run: Run): Schedule {
  return withRuns({ ...schedule, waiting: null, lastJob: run.job ?? schedule.lastJob }, [run]);
}

/**
 * Nothing is due until it is resumed. What waits for the end of a job is dropped; what is being submitted is
 * still brought to its end, so that a job that was made is found.
 */
export function pause(schedule: Schedule, nowMs: number, because: string): Schedule {
  const paused = { ...schedule, pausedMs: schedule.pausedMs ?? nowMs, pausedBecause: because };
  if (schedule.waiting === null || schedule.waiting.begunMs !== null) return paused;
  const { dueMs } = schedule.waiting;
  return withRuns({ ...paused, waiting: null }, [skipped(dueMs, nowMs, 'The schedule was paused.')]);
}

/** It goes on from now, under this key; what was due meanwhile is not made up for. */
export function resume(schedule: Schedule, nowMs: number, keyId: string): Schedule {
  if (schedule.pausedMs === null) return schedule;
  return { ...schedule, keyId, pausedMs: null, pausedBecause: null, nextMs: dueFrom(schedule, nowMs + 1) };
}

/** Other wishes; where they say otherwise when it is due, that holds for times after now. */
export function change(schedule: Schedule, nowMs: number, wishes: Partial<Wishes>): Schedule {
  const changed = { ...schedule, ...wishes };
  const isOtherTime = (['cron', 'timezone', 'startMs', 'endMs'] as const).some(
    (name) => changed[name] !== schedule[name],
  );
  return isOtherTime ? { ...changed, nextMs: dueFrom(changed, nowMs + 1) } : changed;
}

function missed(fromMs: number, untilMs: number, atMs: number): Run {
  return {
    dueMs: fromMs,
    ...(untilMs === fromMs ? {} : { untilMs }),
    atMs,
    outcome: 'missed',
    detail: WAS_AWAY,
  };
}

function skipped(dueMs: number, atMs: number, detail: string): Run {
  return { dueMs, atMs, outcome: 'skipped', detail };
}

function withRuns(schedule: Schedule, runs: readonly Run[]): Schedule {
  return { ...schedule, runs: [...runs.toReversed(), ...schedule.runs].slice(0, MAX_RUNS) };
}
