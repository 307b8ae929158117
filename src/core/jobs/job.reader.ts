import type { Redis } from 'ioredis';
import { cells, integer, optional } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { bandIn } from './band.ts';
import { priorityOf, rankOf } from './rank.ts';
import { beganMsOf, within } from './begun.ts';
import { isJobState, stateOf, type Attempt, type Closing, type Ending } from './job-state.ts';
import type { ArchivedJobs, LogSizes } from './archived-jobs.ts';
import type { JobRecord } from './job-record.ts';
import { erasedOf, openAny, type ErasedRecord } from './erased-record.ts';
import { encodeStored } from '../../proof/receipts/dsse.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { WorkerId } from '../../proof/receipts/fields.ts';
import type { BandName } from '../../proof/contract/bands.ts';
import { CLOSINGS, isFinal, type JobState } from '../../proof/contract/job-states.ts';

const READ = loadScript(new URL('./lua/read-job.lua', import.meta.url), parseJobs, { replies: 'bytes' });

/**
 * More attempts than a ticket may ask for, so that epochs claimed by a hostile worker cannot hide a later
 * one.
 */
export const MAX_EPOCHS = 12;
const MAX_ITEMS = 100;

/** A job as its documents or its record show it at one moment. */
export interface JobView {
  readonly id: string;
  readonly tenant: string;
  readonly model: string;
  readonly queue: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  /** Before when (ms) it does not begin; undefined where it could from the start, and once it has ended. */
  readonly notBeforeMs: number | undefined;
  /** Among the jobs of its tenant, higher ones go first; undefined once it has ended. */
  readonly priority: number | undefined;
  /** In which it waits; undefined once it has ended. */
  readonly band: BandName | undefined;
  readonly maxAttempts: number;
  readonly cancelAskedMs: number | undefined;
  /** The stored form of the signed ticket; undefined where it was erased. */
  readonly ticket: string | undefined;
  /** The id of the API key that submitted it; empty where none did. */
  readonly keyId: string;
  /** What was held for it, in millionths. */
  readonly hold: number | undefined;
  /** What the surface that took it keeps with it. */
  readonly surface: string | undefined;
  /** False where it erases itself a while after its end. */
  readonly isStored: boolean;
  readonly attempts: readonly Attempt[];
  readonly ending: Ending | undefined;
  readonly state: JobState;
  /** Where it has ended and is sealed. */
  readonly record: JobRecord | undefined;
  /** What is left of it where its erasure was asked for or due, whether it is carried out yet or not. */
  readonly erased: ErasedRecord | undefined;
}

/** A job as Redis has it, and how much of the log Redis had at that moment. */
interface Read {
  readonly view: JobView | undefined;
  readonly sizes: LogSizes;
  /** Since when (ms) it is to be erased, as Redis knows. */
  readonly erasedMs: number | undefined;
}

/**
 * Reads jobs. Any number of callers at once: the calls of one turn of the event loop share a round trip.
 * `routingKey` is any key of the shard that the role may write. With an archive it also knows the jobs that
 * Redis has let go or lost.
 */
export class JobReader {
  readonly #reads: Coalescer<string, Read>;
  readonly #archived: ArchivedJobs | undefined;

  constructor(redis: Redis, keys: RedisKeys, routingKey: string, archived?: ArchivedJobs) {
    this.#archived = archived;
    this.#reads = new Coalescer(MAX_ITEMS, async (ids) => {
      const signed = (await archived?.signedSize()) ?? 0;
      const { log, rows, due } = await READ.run(redis, [routingKey], [keys.prefix, MAX_EPOCHS, ...ids]);
      const sizes = { signed, ...log };
      return ids.map((id, index) => {
        const row = rows[index];
        return { view: row && { id, ...row }, sizes, erasedMs: due[index] };
      });
    });
  }

  /**
   * The job, or undefined where there is none. From the moment at which it is to be erased it is what will be
   * left of it.
   */
  async read(id: string): Promise<JobView | undefined> {
    const { view, sizes, erasedMs } = await this.#reads.add(id);
    const found = await this.#found(id, view, sizes);
    if (found === undefined || found.erased !== undefined || !isFinal(found.state)) return found;
    // A Redis that lost its last moments knows of no erasure in them; the disk does.
    const sinceMs = erasedMs ?? (await this.#archived?.erasedAt(id, found.record?.index));
    return sinceMs === undefined ? found : erasedView(found, sinceMs);
  }

  /** The job as Redis has it, also where it is to be erased. */
  async readStored(id: string): Promise<JobView | undefined> {
    return (await this.#reads.add(id)).view;
  }

  async #found(id: string, view: JobView | undefined, sizes: LogSizes): Promise<JobView | undefined> {
    if (this.#archived === undefined || view?.state === 'done') return view;
    if (view !== undefined && !this.#archived.hasLost(sizes)) return view;
    const record = await this.#archived.find(id, sizes);
    return record === undefined ? view : viewOf(record);
  }
}

const text = (value: unknown): string => (Buffer.isBuffer(value) ? value.toString('utf8') : '');
const optionalText = (value: unknown): string | undefined => (Buffer.isBuffer(value) ? text(value) : undefined);
const optionalNumber = (value: unknown): number | undefined =>
  Buffer.isBuffer(value) ? Number(text(value)) : undefined;

/** What the script says of the log and of each job, and since when each is to be erased. */
interface JobsReply {
  readonly log: Omit<LogSizes, 'signed'>;
  readonly rows: readonly (Omit<JobView, 'id'> | undefined)[];
  readonly due: readonly (number | undefined)[];
}

function parseJobs(reply: unknown): JobsReply {
  const [now, published, total, ...values] = cells(reply);
  const rows = values.filter((_, at) => at % 2 === 0);
  return {
    log: { published: integer(published), total: integer(total) },
    rows: rows.map(optional((row) => (Buffer.isBuffer(row) ? viewOf(openAny(row)) : parseJob(row, integer(now))))),
    due: values.filter((_, at) => at % 2 === 1).map(optionalNumber),
  };
}

/** What is kept of the verdict of a job that has ended. */
export interface Ended {
  readonly record?: Pick<JobRecord, 'verdict'> | undefined;
  readonly erased?: Pick<ErasedRecord, 'verdict'> | undefined;
}

/** The payload of the verdict with which a job ended; undefined while it is open, or where there is none. */
export function verdictOf({ record, erased }: Ended): Buffer | undefined {
  return (record ?? erased)?.verdict?.payload;
}

/** A job that has ended, as its record or what is left of it shows it. */
export function viewOf(record: JobRecord | ErasedRecord): JobView {
  const { ending } = record;
  if ('erasedMs' in record)
    return {
      ...record,
      ticket: undefined,
      notBeforeMs: undefined,
      priority: undefined,
      band: undefined,
      surface: undefined,
      isStored: false,
      state: ending.state,
      record: undefined,
      erased: record,
    };
  return {
    ...record,
    notBeforeMs: undefined,
    priority: undefined,
    band: undefined,
    ticket: encodeStored(record.ticket),
    state: ending.state,
    record,
    erased: undefined,
  };
}

/** A job that has ended, as it will be when its erasure is carried out. */
function erasedView(view: JobView, erasedMs: number): JobView {
  const { record, ending, ticket } = view;
  if (record !== undefined) return viewOf(erasedOf(record, erasedMs));
  if (ending === undefined || ticket === undefined) return view;
  const documents = { ticket: readTicket(view.id, ticket).signed, evidence: undefined, verdict: undefined };
  return viewOf(erasedOf({ ...view, ending, ...documents, salt: undefined, index: undefined }, erasedMs));
}

function parseJob(row: unknown, nowMs: number): Omit<JobView, 'id'> {
  const [tenant, model, queue, created, deadline, attemptsAllowed, cancel, ticket, key, hold, surface, store, ...rest] =
    cells(row);
  const [notBefore, rank, band, state, ended, epoch, reason, logged, epochs] = rest;
  const ending = parseEnding(state, ended, epoch, reason);
  const fields = (Array.isArray(epochs) ? epochs : []).map(optionalText);
  const claimed = parseAttempts(fields, { from: Number(text(created)), to: nowMs });
  // What a worker claims after the end, or after a confirmation was decided, is no attempt at this job.
  const last = ending?.epoch ?? Number.parseInt(text(logged) || String(MAX_EPOCHS), 10);
  const attempts = claimed.slice(0, last);
  return {
    tenant: text(tenant),
    model: text(model),
    queue: text(queue),
    createdMs: Number(text(created)),
    deadlineMs: Number(text(deadline)),
    notBeforeMs: ending === undefined ? optionalNumber(notBefore) : undefined,
    priority: ending === undefined ? priorityOf(optionalNumber(rank) ?? rankOf(0, 0)) : undefined,
    band: ending === undefined ? bandIn(optionalText(band)) : undefined,
    maxAttempts: Number(text(attemptsAllowed)),
    cancelAskedMs: optionalNumber(cancel),
    ticket: text(ticket),
    keyId: text(key),
    hold: optionalNumber(hold),
    surface: optionalText(surface),
    isStored: text(store) !== 'no',
    attempts,
    ending,
    state: stateOf(attempts, ending),
    record: undefined,
    erased: undefined,
  };
}

/**
 * Claims, beginnings and commits as workers wrote them, with any of a worker's powers: a time that cannot be
 * is moved into the life of the job, and a name that no worker has is left out. There are four fields of each
 * epoch: claim, beginning, commit, closing.
 */
export function parseAttempts(fields: readonly (string | undefined)[], life: { from: number; to: number }): Attempt[] {
  const attempts: Attempt[] = [];
  for (let at = 0; at + 3 < fields.length; at += 4) {
    const claim = fields[at] ?? '';
    const commit = fields[at + 2] ?? '';
    const closed = parseClosing(fields[at + 3]);
    const [worker = '', , claimed] = claim.split(' ');
    const claimedMs = within(life, claimed);
    const committedMs = commit === '' ? undefined : within({ from: claimedMs, to: life.to }, commit.split(' ')[1]);
    const running = { from: claimedMs, to: committedMs ?? Math.max(claimedMs, closed?.atMs ?? life.to) };
    attempts.push({
      epoch: at / 4 + 1,
      worker: isWorkerId(worker) ? worker : '',
      claimedMs,
      beganMs: beganMsOf(claim, fields[at + 1], running) ?? (committedMs === undefined ? undefined : claimedMs),
      committedMs,
      closed,
    });
  }
  return attempts;
}

const isWorkerId = (text: string) => WorkerId.safeParse(text).success;

/** `x<epoch>` as the attestor writes it: why, worker, time (ms), detail. */
function parseClosing(value: string | undefined): Closing | undefined {
  if (value === undefined) return undefined;
  const [why = '', , at = '0', ...detail] = value.split(' ');
  const known = CLOSINGS.find((candidate) => candidate === why);
  return { why: known ?? 'lost', atMs: Number(at), detail: detail.join(' ') };
}

function parseEnding(stored: unknown, ended: unknown, epoch: unknown, reason: unknown): Ending | undefined {
  const state = optionalText(stored);
  if (state === undefined) return undefined;
  if (!isJobState(state) || !isFinal(state))
    throw new Error(`The ruling holds the state ${state}, which is not final.`);
  const [code = '', ...detail] = text(reason).split(' ');
  return { state, atMs: Number(text(ended)), epoch: Number(text(epoch)), code, detail: detail.join(' ') };
}
