import type { JobView } from '../../core/jobs/job.reader.ts';
import type { Price } from '../../proof/receipts/statements.ts';
import { duesAhead } from '../../surfaces/schedules/schedule-moves.ts';
import { stateOf, type Run, type Schedule } from '../../surfaces/schedules/schedule.ts';
import type { ScheduleDocument, ScheduleRun, ScheduleSummary } from './schedules.schemas.ts';

const SHOWN_AHEAD = 5;

const iso = (ms: number) => new Date(ms).toISOString();
const isoOrNull = (ms: number | null) => (ms === null ? null : iso(ms));

/** A schedule as lists show it. */
export function scheduleSummary(schedule: Schedule): ScheduleSummary {
  const { waiting } = schedule;
  return {
    id: schedule.id,
    name: schedule.name,
    metadata: schedule.metadata,
    state: stateOf(schedule),
    cron: schedule.cron,
    timezone: schedule.timezone,
    overlap: schedule.overlap,
    catch_up: schedule.catchUp,
    start_at: isoOrNull(schedule.startMs),
    end_at: isoOrNull(schedule.endMs),
    model: schedule.request.model,
    key: schedule.keyId,
    created_at: iso(schedule.createdMs),
    paused_at: isoOrNull(schedule.pausedMs),
    paused_because: schedule.pausedBecause,
    next: duesAhead(schedule, SHOWN_AHEAD).map(iso),
    waiting: waiting === null ? null : { due_at: iso(waiting.dueMs), why: waiting.problem },
  };
}

/** A schedule with its runs. `jobs` are those of the runs that are still kept, by id. */
export function scheduleDocument(
  schedule: Schedule,
  jobs: ReadonlyMap<string, JobView>,
  price: Price | undefined,
): ScheduleDocument {
  return {
    ...scheduleSummary(schedule),
    request: schedule.request,
    price: price ?? null,
    runs: schedule.runs.map((run) => scheduleRun(run, run.job === undefined ? undefined : jobs.get(run.job))),
  };
}

function scheduleRun(
  { dueMs, untilMs, atMs, outcome, job, code, detail }: Run,
  view: JobView | undefined,
): ScheduleRun {
  const hasReceipt = view?.state === 'done' && view.erased === undefined;
  return {
    due_at: iso(dueMs),
    until: isoOrNull(untilMs ?? null),
    at: iso(atMs),
    outcome,
    reason: detail === undefined ? null : { code: code ?? null, detail },
    job: job ?? null,
    state: view?.state ?? null,
    links: {
      job: view === undefined ? null : `/v1/jobs/${view.id}`,
      receipt: hasReceipt ? `/v1/jobs/${view.id}/receipt` : null,
    },
  };
}
