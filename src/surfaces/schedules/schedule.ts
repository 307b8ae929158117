import { z } from 'zod';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { parseCron } from './cron-expression.ts';
import type { CronClock } from './due-times.ts';

/** What happens at a due time at which the job of the one before has not ended. */
export const OVERLAPS = ['skip', 'queue', 'allow'] as const;
/** What becomes of due times at which no courier ran: nothing, or the newest of them is made up for. */
export const CATCH_UPS = ['none', 'newest'] as const;
/**
 * What became of a due time. `submitted`: a job was made. `skipped`: the overlap policy left it out.
 * `refused`: the job was not accepted. `missed`: no courier was there in time.
 */
export const OUTCOMES = ['submitted', 'skipped', 'refused', 'missed'] as const;

/** The most runs of a schedule that are remembered. */
export const MAX_RUNS = 50;

/** What became of one due time, or of a stretch of them that were missed. */
export const Run = z.object({
  dueMs: z.number(),
  /** The last due time of a stretch. */
  untilMs: z.number().optional(),
  atMs: z.number(),
  outcome: z.enum(OUTCOMES),
  job: z.string().optional(),
  code: z.string().optional(),
  detail: z.string().optional(),
});
export type Run = z.infer<typeof Run>;

/** The parts of a schedule that are its owner's to change. */
const Wishes = z.object({
  name: z.string(),
  metadata: z.record(z.string(), z.string()),
  cron: z.string(),
  timezone: z.string(),
  overlap: z.enum(OVERLAPS),
  catchUp: z.enum(CATCH_UPS),
  startMs: z.number().nullable(),
  endMs: z.number().nullable(),
});
export type Wishes = z.infer<typeof Wishes>;

/** A schedule as Redis keeps it, all but the request and the runs. */
export const ScheduleBody = Wishes.extend({
  tenant: z.string(),
  /** The API key under which its jobs are submitted. */
  keyId: z.string(),
  createdMs: z.number(),
  pausedMs: z.number().nullable(),
  pausedBecause: z.string().nullable(),
  /** The first due time that nothing was decided about; null where there is none any more. */
  nextMs: z.number().nullable(),
  /**
   * The due time whose job is to be submitted. `begunMs` is when that was first tried; null while the job of
   * an earlier time is waited for. `problem` says why it was not accepted the last time.
   */
  waiting: z
    .object({
      dueMs: z.number(),
      begunMs: z.number().nullable(),
      problem: z.object({ code: z.string(), detail: z.string() }).nullable(),
    })
    .nullable(),
  /** The job of the last run that made one. */
  lastJob: z.string().nullable(),
});
export type ScheduleBody = z.infer<typeof ScheduleBody>;

export interface Schedule extends ScheduleBody {
  readonly id: string;
  readonly request: SubmitJob;
  /** The newest first. */
  readonly runs: readonly Run[];
}

export type ScheduleState = 'active' | 'paused' | 'ended';

/** A schedule ends when it has no due time to come. */
export function stateOf({ pausedMs, nextMs, waiting }: ScheduleBody): ScheduleState {
  if (pausedMs !== null) return 'paused';
  return nextMs === null && waiting === null ? 'ended' : 'active';
}

/** The clock by which a schedule is due. */
export function clockOf({ cron, timezone }: Pick<Wishes, 'cron' | 'timezone'>): CronClock {
  return { cron: parseCron(cron), zone: timezone };
}
