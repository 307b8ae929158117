import type { Redis } from 'ioredis';
import { MAX_STATEMENT_BYTES } from '../attestation/methods/binding.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { EMPTIED } from '../backlog/pool-state.ts';
import { bandIn } from '../jobs/band.ts';
import { MAX_EPOCHS, parseAttempts } from '../jobs/job.reader.ts';
import type { Attempt } from '../jobs/job-state.ts';
import type { BandName } from '../../proof/contract/bands.ts';
import type { FinalState, JobState } from '../../proof/contract/job-states.ts';
import { INLINE_BYTES } from '../../proof/tasks/task-input.ts';
import { cells, integer, optional } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const READ = loadScript(new URL('./lua/read-cases.lua', import.meta.url), parseCases);

/**
 * Which attempt of which job is asked about; epoch and field are the current and committed ones where absent.
 */
export interface CaseRef {
  readonly id: string;
  readonly epoch?: number;
  readonly field?: string;
}

/** Where an open job stands: as its state, but `ready` while a worker holds it whose engine has not begun. */
export type Phase = Exclude<JobState, FinalState> | 'ready';

/** The stored evidence or release, or how it is unfit. */
export type Statement = { readonly kind: 'stored'; readonly text: string } | { readonly kind: 'missing' | 'too_large' };

/** Everything needed to judge one attempt, as Redis had it at one moment (`nowMs`, by Redis' clock). */
export interface CaseFile {
  readonly id: string;
  readonly nowMs: number;
  readonly ticket: string;
  readonly tenant: string;
  /** Who pays for its place in the queue: the tenant, or its background work. */
  readonly flow: string;
  /** What it was told when it was admitted; see `toldIn`. Undefined where nothing could be told. */
  readonly told: string | undefined;
  /** In units of `costOf`. */
  readonly cost: number;
  readonly queue: string;
  readonly band: BandName;
  readonly model: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly maxAttempts: number;
  /** The id of the API key that submitted it; empty where none did. */
  readonly keyId: string;
  /** What was held for it, in millionths. */
  readonly hold: number | undefined;
  /** Whether a part of its tenant's account or allowance is reserved for it. */
  readonly isReserved: boolean;
  /** What the surface that took it keeps with it. */
  readonly surface: string | undefined;
  /** False where the job erases itself a while after its end. */
  readonly isStored: boolean;
  /** The trace that it is part of, as `traceparent` has it. */
  readonly trace: string | undefined;
  readonly cancelAskedMs: number | undefined;
  /** It is the operator who asked, with all that waited in its pool. */
  readonly isPoolEmptied: boolean;
  readonly ended: boolean;
  readonly phase: Phase;
  /** The job's current epoch, and the one this case is about. */
  readonly currentEpoch: number;
  readonly epoch: number;
  readonly claimant: string;
  /** The attempts up to this one. */
  readonly attempts: readonly Attempt[];
  readonly committedMs: number | undefined;
  readonly field: string;
  readonly statement: Statement;
  readonly inlineOutput: string | undefined;
  /**
   * Time left on the lease; 0 where nobody holds it, and where the case named its epoch: its lease decides
   * nothing.
   */
  readonly leaseMs: number;
  /** The epoch whose confirmation has its place in the log, and that place. */
  readonly logged: { readonly epoch: number; readonly index: number } | undefined;
}

/** Reads cases in one round trip; undefined where there is no such job. */
export async function readCases(
  redis: Redis,
  keys: RedisKeys,
  refs: readonly CaseRef[],
): Promise<(CaseFile | undefined)[]> {
  if (refs.length === 0) return [];
  const args = refs.flatMap(({ id, epoch, field }) => [id, epoch ?? '', field ?? '']);
  const { nowMs, rows } = await READ.run(
    redis,
    [keys.open],
    [keys.prefix, MAX_EPOCHS, MAX_STATEMENT_BYTES, INLINE_BYTES, ...args],
  );
  return refs.map(({ id, epoch }, index) => {
    const row = rows[index];
    return row && { id, nowMs, epoch: epoch ?? row.currentEpoch, ...row };
  });
}

/** What the script answers for one case; the caller knows the rest. */
type CaseRow = Omit<CaseFile, 'id' | 'nowMs' | 'epoch'>;

function parseCases(reply: unknown): { nowMs: number; rows: (CaseRow | undefined)[] } {
  const [now, ...rows] = cells(reply);
  const nowMs = integer(now);
  return { nowMs, rows: rows.map(optional((row) => parseCase(row, nowMs))) };
}

const pastOr0 = (value: string | undefined, nowMs: number): number =>
  value !== undefined && /^\d{1,15}$/.test(value) && Number(value) <= nowMs ? Number(value) : 0;

/** The epoch and the place that sequence.lua wrote. */
function placeIn(value: string): { epoch: number; index: number } | undefined {
  const [, epoch, index] = /^(\d+) (\d+)$/.exec(value) ?? [];
  return epoch === undefined ? undefined : { epoch: Number(epoch), index: Number(index) };
}

const optionalText = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
const text = (value: unknown): string => optionalText(value) ?? '';
const optionalNumber = (value: unknown): number | undefined => (typeof value === 'string' ? Number(value) : undefined);

/** What was read of a statement of this length. */
function statementOf(read: unknown, length: number): Statement {
  return typeof read === 'string' ? { kind: 'stored', text: read } : { kind: length > 0 ? 'too_large' : 'missing' };
}

/** Where a job stands whose attempt this is, and not closed. */
function phaseOf(attempt: Attempt | undefined): Phase {
  if (attempt?.committedMs !== undefined) return 'attesting';
  return attempt?.beganMs === undefined ? 'ready' : 'running';
}

/** When it was committed. A worker wrote it: a time that cannot be is long ago. */
function committedAt(commit: string, nowMs: number): number | undefined {
  return commit === '' ? undefined : pastOr0(commit.split(' ')[1], nowMs);
}

function parseCase(row: unknown, nowMs: number): CaseRow {
  const all = cells(row);
  const [ticket, tenant, queue, model, created, deadline, cost, cancel, state, current, claim, commit, closing, field] =
    all;
  const [
    statementLength,
    statement,
    ,
    output,
    lease,
    logged,
    maxAttempts,
    key,
    hold,
    surface,
    store,
    reserve,
    flow,
    told,
    before,
    began,
    cancelWhy,
  ] = all.slice(14);
  const [trace, band] = all.slice(31);
  const currentEpoch = Number(current);
  const times = { from: Number(created), to: nowMs };
  const attempts = parseAttempts([...cells(before), claim, began, commit, closing].map(optionalText), times);
  return {
    ticket: text(ticket),
    tenant: text(tenant),
    flow: optionalText(flow) ?? text(tenant),
    told: optionalText(told),
    cost: Number(cost),
    queue: text(queue),
    band: bandIn(optionalText(band)),
    model: text(model),
    createdMs: Number(created),
    deadlineMs: Number(deadline),
    maxAttempts: Number(maxAttempts),
    keyId: text(key),
    hold: optionalNumber(hold),
    isReserved: typeof reserve === 'string',
    surface: optionalText(surface),
    isStored: store !== 'no',
    trace: optionalText(trace),
    cancelAskedMs: optionalNumber(cancel),
    isPoolEmptied: cancelWhy === EMPTIED,
    ended: typeof state === 'string',
    phase: currentEpoch === 0 || typeof closing === 'string' ? 'queued' : phaseOf(attempts.at(-1)),
    currentEpoch,
    claimant: text(claim).split(' ')[0] ?? '',
    attempts,
    committedMs: committedAt(text(commit), nowMs),
    field: text(field),
    statement: statementOf(statement, Number(statementLength)),
    inlineOutput: typeof output === 'string' ? output : undefined,
    logged: placeIn(text(logged)),
    leaseMs: Number(lease) === -1 ? Infinity : Math.max(0, Number(lease)),
  };
}
