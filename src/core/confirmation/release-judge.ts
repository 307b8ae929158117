import { CodedError } from '../../ground/errors/coded-error.ts';
import { decodeUtf8, parseCanonicalJson } from '../../ground/json/strict-json.ts';
import { publicKeyFromBase64, workerIdOf } from '../../ground/keys/signing-key.ts';
import { decodeStored, verifyPayload } from '../../proof/receipts/dsse.ts';
import { Release, type ReleaseCode } from '../../proof/receipts/statements.ts';
import { poolOfQueue } from '../../ground/redis/keys.ts';
import { EMPTIED_DETAIL } from '../backlog/pool-state.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import type { Ruling } from './rulings.ts';

/**
 * What is neither the job's fault nor the engine's: the job is run as if for the first time. The same holds
 * of every claim whose engine had not begun.
 */
const NOT_COUNTED: ReadonlySet<ReleaseCode> = new Set([
  'barred',
  'drained',
  'storage_unavailable',
  'engine_away',
  'ticket_unknown',
  'would_not_finish',
]);

/** What another worker would say as well. */
const FINAL: ReadonlySet<ReleaseCode> = new Set(['engine_refused', 'context_exceeded', 'output_too_large']);

/**
 * What a worker's release leads to; undefined where it is not the claimant's word, and the lease must run out
 * instead.
 */
export function judgeRelease(file: CaseFile, enrolled: Enrolled): Ruling | undefined {
  const release = readRelease(file, enrolled);
  if (release === undefined) return undefined;
  const { code, detail } = release.predicate;
  const about = { id: file.id, epoch: file.epoch, phases: ['ready', 'running'] as const };
  if (file.cancelAskedMs !== undefined) {
    return {
      ...about,
      action: { kind: 'end', state: 'cancelled' },
      code: 'cancelled',
      detail: file.isPoolEmptied ? EMPTIED_DETAIL : 'The worker has stopped.',
    };
  }
  if (code === 'deadline' && file.nowMs >= file.deadlineMs) {
    return {
      ...about,
      action: { kind: 'end', state: 'expired' },
      code: 'expired',
      detail: 'The deadline passed while the job ran; the worker has stopped.',
    };
  }
  const bar = enrolled.barFrom(file.claimant, poolOfQueue(file.queue), file.nowMs);
  // Whoever may not work can give a job back, and has no say in how it ends.
  if (bar === undefined && FINAL.has(code)) {
    return {
      ...about,
      action: { kind: 'end', state: 'failed' },
      code,
      detail: detail === '' ? 'The engine refused the job.' : detail,
    };
  }
  const isCounted = bar === undefined && file.phase !== 'ready' && !NOT_COUNTED.has(code);
  return {
    ...about,
    action: { kind: 'close', why: isCounted ? 'released' : 'void' },
    code: 'attempts_exhausted',
    detail: bar ?? `${code} ${detail}`.trim(),
  };
}

/** What is asked of the list of workers. */
type Enrolled = Pick<EnrolledWorkers, 'find' | 'barFrom'>;

function readRelease(file: CaseFile, enrolled: Enrolled): Release | undefined {
  if (file.statement.kind !== 'stored') return undefined;
  const signed = decodeStored(Buffer.from(file.statement.text));
  if (signed === undefined) return undefined;
  try {
    const parsed = Release.safeParse(parseCanonicalJson(decodeUtf8(signed.payload), { maxDepth: 8 }));
    if (!parsed.success) return undefined;
    const { job, epoch, worker } = parsed.data.predicate;
    if (job !== file.id || epoch !== file.epoch || worker.id !== file.claimant) return undefined;
    const enrolledKey = enrolled.find(file.claimant, file.nowMs);
    // A worker that is barred by now may still give back what it holds: its id is the digest of its key.
    const key = typeof enrolledKey === 'string' ? publicKeyFromBase64(worker.publicKey) : enrolledKey;
    return workerIdOf(key) === file.claimant && verifyPayload(key, signed) ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof CodedError && error.code === 'registry_expired') throw error;
    return undefined;
  }
}
