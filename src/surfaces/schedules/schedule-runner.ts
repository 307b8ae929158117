import type { Redis } from 'ioredis';
import type { JobReader } from '../../core/jobs/job.reader.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { takeDue } from '../../ground/redis/take-due.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import type { Admission } from '../admission/admission.ts';
import type { ApiKeys } from '../tenants/api-key.store.ts';
import {
  GIVE_UP_MS,
  PATIENCE_MS,
  TAKEN_MS,
  begin,
  isDue,
  lookMs,
  pause,
  postpone,
  settle,
  skipBehind,
  take,
} from './schedule-moves.ts';
import type { Run, Schedule } from './schedule.ts';
import type { Author, Schedules } from './schedule.store.ts';

const LOOK_EVERY_MS = 250;
const SCHEDULES_AT_ONCE = 32;

/** What running schedules needs. */
export interface ScheduleParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly schedules: Schedules;
  readonly admission: Admission;
  readonly reader: JobReader;
  readonly apiKeys: ApiKeys;
}

type Result = Omit<Run, 'dueMs' | 'atMs'>;

/**
 * Submits the jobs of schedules when they are due. Any number of couriers may run: one takes a schedule for a
 * while, writes down which due time it submits, submits the job under an idempotency key made of the schedule
 * and that time, and writes down what became of it. Whoever goes on after a crash in between finds the due
 * time, and with the key the job that was made already.
 */
export class ScheduleRunner {
  readonly #parts: ScheduleParts;
  readonly #logger: Logger;
  readonly #warn: (error: unknown) => void;
  readonly #looks: PeriodicTask;

  constructor(parts: ScheduleParts, logger: Logger) {
    this.#parts = parts;
    this.#logger = logger;
    this.#warn = rateLimited(5_000, (error) => logger.warn(`schedules: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.look(), this.#warn, LOOK_EVERY_MS * 4);
  }

  /** Begins to look for schedules that are due. */
  start(): void {
    this.#looks.start();
  }

  /** Resolves when the look in progress has ended. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Goes on with every schedule that is due, each by itself. Returns when to look again, in ms. */
  async look(): Promise<number> {
    const { redis, keys } = this.#parts;
    const due = await takeDue(redis, keys.schedules, TAKEN_MS, SCHEDULES_AT_ONCE);
    await Promise.all(due.map((id) => this.#goOn(id).catch(this.#warn)));
    return due.length === SCHEDULES_AT_ONCE ? 0 : LOOK_EVERY_MS;
  }

  async #goOn(id: string): Promise<void> {
    const { redis, keys, schedules } = this.#parts;
    const found = await schedules.read(id);
    if (found === undefined) {
      await redis.zrem(keys.schedules, id);
      return;
    }
    const isLastOpen = await this.#isOpen(found);
    const nowMs = Date.now();
    let before: Schedule = found;
    const schedule = await schedules.change(
      id,
      (now) => {
        before = now;
        return decide(now, nowMs, isLastOpen);
      },
      { lookAt: (now) => (isBegun(now) ? nowMs + TAKEN_MS : lookMs(now, nowMs)) },
    );
    if (schedule === undefined) return;
    for (const run of schedule.runs.filter((run) => !before.runs.includes(run))) this.#tell(schedule, run);
    if (isBegun(schedule)) await this.#submit(schedule);
  }

  async #submit(schedule: Begun): Promise<void> {
    const { admission, apiKeys } = this.#parts;
    const { dueMs, begunMs, problem } = schedule.waiting;
    const triedMs = Date.now() - begunMs;
    if (triedMs > GIVE_UP_MS) {
      await this.#settle(schedule, dueMs, {
        outcome: 'missed',
        detail: 'No courier ran for a day while the job was being submitted; whether it was made is not known.',
      });
      return;
    }
    const standing = await apiKeys.standing(schedule.tenant, schedule.keyId);
    const key = idempotencyKey(schedule.id, dueMs);
    if ('barred' in standing) {
      const made = await admission.jobOf(schedule.tenant, key);
      await this.#pause(schedule, dueMs, made, standing.barred);
      return;
    }
    try {
      const { id: job } = await admission.submit(standing.submitter, schedule.request, { idempotencyKey: key });
      crashPoint('courier.after-schedule');
      await this.#settle(schedule, dueMs, { outcome: 'submitted', job });
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const isLastTry = isDue(schedule, Date.now()) || triedMs > PATIENCE_MS;
      if (isPassing(error) && !isLastTry) {
        if (problem?.code !== error.code)
          this.#logger.warn({ schedule: schedule.id, code: error.code }, 'schedule waits');
        await this.#postpone(schedule, dueMs, error);
        return;
      }
      // Its reply may have been lost, or the job has ended and is forgotten.
      const job = await admission.jobOf(schedule.tenant, key);
      await this.#settle(
        schedule,
        dueMs,
        job === undefined ? { outcome: 'refused', ...problemOf(error) } : { outcome: 'submitted', job },
      );
    }
  }

  async #settle(schedule: Schedule, dueMs: number, result: Result): Promise<void> {
    const run = { dueMs, atMs: Date.now(), ...result };
    if (await this.#changeWaiting(schedule.id, dueMs, (now) => settle(now, run))) this.#tell(schedule, run);
  }

  #tell({ id }: Schedule, { dueMs, outcome, job, code }: Run): void {
    count('countersign_schedule_runs_total', { outcome });
    this.#logger.info({ schedule: id, due: new Date(dueMs).toISOString(), outcome, job, code }, 'schedule was due');
  }

  async #pause(schedule: Schedule, dueMs: number, job: string | undefined, because: string): Promise<void> {
    const atMs = Date.now();
    const result: Result =
      job === undefined
        ? { outcome: 'refused', code: 'unauthenticated', detail: because }
        : { outcome: 'submitted', job };
    const run = { dueMs, atMs, ...result };
    const author: Author = { by: 'courier', action: 'schedule.pause', detail: { because } };
    const isFirst = await this.#changeWaiting(
      schedule.id,
      dueMs,
      (now) => pause(settle(now, run), atMs, because),
      author,
    );
    if (!isFirst) return;
    this.#tell(schedule, run);
    this.#logger.warn({ schedule: schedule.id, tenant: schedule.tenant }, `schedule is paused: ${because}`);
  }

  async #postpone(schedule: Schedule, dueMs: number, error: CodedError): Promise<void> {
    await this.#changeWaiting(schedule.id, dueMs, (now) => postpone(now, problemOf(error)));
  }

  /** Moves a schedule where this due time still waits. Returns whether it did. */
  async #changeWaiting(
    id: string,
    dueMs: number,
    move: (schedule: Schedule) => Schedule,
    author?: Author,
  ): Promise<boolean> {
    let isWaiting = false;
    await this.#parts.schedules.change(
      id,
      (now) => {
        isWaiting = now.waiting?.dueMs === dueMs;
        return isWaiting ? move(now) : undefined;
      },
      author === undefined ? {} : { author },
    );
    return isWaiting;
  }

  /** Whether the job of the last run has not ended, where that matters. */
  async #isOpen({ overlap, lastJob }: Schedule): Promise<boolean> {
    if (overlap === 'allow' || lastJob === null) return false;
    const view = await this.#parts.reader.read(lastJob);
    return view !== undefined && !isFinal(view.state);
  }
}

/** A schedule with a due time that is being submitted. */
type Begun = Schedule & { readonly waiting: { readonly begunMs: number } };

function isBegun(schedule: Schedule): schedule is Begun {
  return schedule.waiting !== null && schedule.waiting.begunMs !== null;
}

/** What a courier makes of a schedule that it looks at. */
function decide(schedule: Schedule, nowMs: number, isLastOpen: boolean): Schedule {
  if (schedule.waiting === null) return isDue(schedule, nowMs) ? take(schedule, nowMs, isLastOpen) : schedule;
  if (isBegun(schedule)) return schedule;
  if (!isLastOpen) return begin(schedule, nowMs);
  return isDue(schedule, nowMs) ? skipBehind(schedule, nowMs) : schedule;
}

/** The one job of a due time is found by this; no client can send a key that begins with this character. */
function idempotencyKey(id: string, dueMs: number): string {
  return `\0schedule ${id} ${dueMs}`;
}

const problemOf = ({ code, message }: CodedError) => ({ code, detail: message });

const PASSING: ReadonlySet<string> = new Set([
  'storage_unavailable',
  'storage_full',
  'not_durable',
  'overloaded',
  'rate_limited',
  'attestation_unavailable',
]);

/**
 * Whether an error is about this moment and not about the request, so that it is tried again until the next
 * time.
 */
function isPassing({ code, headers }: CodedError): boolean {
  return PASSING.has(code) && headers['x-should-retry'] !== 'false';
}
