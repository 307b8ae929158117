import type { Redis } from 'ioredis';
import { cells, integer, optional } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { isJobState, stateOf, type Attempt, type Closing, type Ending } from './job-state.ts';
import { WorkerId } from '../../proof/receipts/fields.ts';
import { CLOSINGS, isFinal, type JobState } from '../../proof/contract/job-states.ts';

const READ = loadScript(new URL('./lua/read-job.lua', import.meta.url), parseJobs);

/**
 * More attempts than a ticket may ask for, so that epochs claimed by a hostile worker cannot hide a later
 * one.
 */
export const MAX_EPOCHS = 12;
const MAX_ITEMS = 100;

/** A job as its documents show it at one moment. */
export interface JobView {
  readonly id: string;
  readonly tenant: string;
  readonly model: string;
  readonly queue: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly maxAttempts: number;
  readonly cancelAskedMs: number | undefined;
  /** The stored form of the signed ticket. */
  readonly ticket: string;
  readonly attempts: readonly Attempt[];
  readonly ending: Ending | undefined;
  readonly state: JobState;
}

/**
 * Reads jobs. Any number of callers at once: the calls of one turn of the event loop share a round trip.
 * `routingKey` is any key of the shard that the role may write.
 */
export class JobReader {
  readonly #reads: Coalescer<string, { view: JobView | undefined }>;

  constructor(redis: Redis, keys: RedisKeys, routingKey: string) {
    this.#reads = new Coalescer(MAX_ITEMS, async (ids) => {
      const rows = await READ.run(redis, [routingKey], [keys.prefix, MAX_EPOCHS, ...ids]);
      return ids.map((id, index) => {
        const row = rows[index];
        return { view: row && { id, ...row } };
      });
    });
  }

  /** The job, or undefined where there is none. */
  async read(id: string): Promise<JobView | undefined> {
    return (await this.#reads.add(id)).view;
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const optionalNumber = (value: unknown): number | undefined => (typeof value === 'string' ? Number(value) : undefined);

function parseJobs(reply: unknown): (Omit<JobView, 'id'> | undefined)[] {
  const [now, ...rows] = cells(reply);
  return rows.map(optional((row) => parseJob(row, integer(now))));
}

function parseJob(row: unknown, nowMs: number): Omit<JobView, 'id'> {
  const [
    tenant,
    model,
    queue,
    created,
    deadline,
    attemptsAllowed,
    cancel,
    ticket,
    state,
    ended,
    epoch,
    reason,
    epochs,
  ] = cells(row);
  const ending = parseEnding(state, ended, epoch, reason);
  const claimed = parseAttempts(Array.isArray(epochs) ? epochs : [], { from: Number(created), to: nowMs });
  // What a worker claims after the end is no attempt at this job.
  const attempts = ending === undefined ? claimed : claimed.slice(0, ending.epoch);
  return {
    tenant: text(tenant),
    model: text(model),
    queue: text(queue),
    createdMs: Number(created),
    deadlineMs: Number(deadline),
    maxAttempts: Number(attemptsAllowed),
    cancelAskedMs: optionalNumber(cancel),
    ticket: text(ticket),
    attempts,
    ending,
    state: stateOf(attempts, ending),
  };
}

/**
 * Claims and commits as workers wrote them, with any of a worker's powers: a time that cannot be is moved
 * into the life of the job, and a name that no worker has is left out.
 */
function parseAttempts(fields: readonly unknown[], life: { from: number; to: number }): Attempt[] {
  const attempts: Attempt[] = [];
  for (let at = 0; at + 2 < fields.length; at += 3) {
    const [worker = '', , claimed] = text(fields[at]).split(' ');
    const commit = text(fields[at + 1]);
    const claimedMs = within(life, claimed);
    attempts.push({
      epoch: at / 3 + 1,
      worker: isWorkerId(worker) ? worker : '',
      claimedMs,
      committedMs: commit === '' ? undefined : within({ from: claimedMs, to: life.to }, commit.split(' ')[1]),
      closed: parseClosing(fields[at + 2]),
    });
  }
  return attempts;
}

/** The time (ms) in a text, moved into these bounds. */
function within({ from, to }: { from: number; to: number }, text = ''): number {
  const ms = /^\d{1,15}$/.test(text) ? Number(text) : from;
  return Math.max(from, Math.min(ms, to));
}

const isWorkerId = (text: string) => WorkerId.safeParse(text).success;

/** `x<epoch>` as the attestor writes it: why, worker, time (ms), detail. */
function parseClosing(value: unknown): Closing | undefined {
  if (typeof value !== 'string') return undefined;
  const [why = '', , at = '0', ...detail] = value.split(' ');
  const known = CLOSINGS.find((candidate) => candidate === why);
  return { why: known ?? 'lost', atMs: Number(at), detail: detail.join(' ') };
}

function parseEnding(state: unknown, ended: unknown, epoch: unknown, reason: unknown): Ending | undefined {
  if (typeof state !== 'string') return undefined;
  if (!isJobState(state) || !isFinal(state))
    throw new Error(`The ruling holds the state ${state}, which is not final.`);
  const [code = '', ...detail] = text(reason).split(' ');
  return { state, atMs: Number(ended), epoch: Number(epoch), code, detail: detail.join(' ') };
}
