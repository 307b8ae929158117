import { decodeUtf8, parseCanonicalJson } from '../../ground/json/strict-json.ts';
import { decodeStored, verifyPayload } from '../../proof/receipts/dsse.ts';
import { Release } from '../../proof/receipts/statements.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import type { Ruling } from './rulings.ts';

/**
 * What a worker's release leads to; undefined where it is not the claimant's word, and the lease must run out
 * instead.
 */
export function judgeRelease(file: CaseFile, enrolled: EnrolledWorkers): Ruling | undefined {
  const release = readRelease(file, enrolled);
  if (release === undefined) return undefined;
  const { code, detail } = release.predicate;
  const about = { id: file.id, epoch: file.epoch, phases: ['running'] as const };
  if (file.cancelAskedMs !== undefined) {
    return {
      ...about,
      action: { kind: 'end', state: 'cancelled' },
      code: 'cancelled',
      detail: 'The worker has stopped.',
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
  if (code === 'engine_refused' || code === 'context_exceeded' || code === 'output_too_large') {
    return {
      ...about,
      action: { kind: 'end', state: 'failed' },
      code,
      detail: detail === '' ? 'The engine refused the job.' : detail,
    };
  }
  return {
    ...about,
    action: { kind: 'close', why: 'released' },
    code: 'attempts_exhausted',
    detail: `${code} ${detail}`.trim(),
  };
}

function readRelease(file: CaseFile, enrolled: EnrolledWorkers): Release | undefined {
  if (file.statement.kind !== 'stored') return undefined;
  const signed = decodeStored(Buffer.from(file.statement.text));
  const key = enrolled.find(file.claimant, file.nowMs);
  if (signed === undefined || typeof key === 'string' || !verifyPayload(key, signed)) return undefined;
  try {
    const parsed = Release.safeParse(parseCanonicalJson(decodeUtf8(signed.payload), { maxDepth: 8 }));
    if (!parsed.success) return undefined;
    const { job, epoch, worker } = parsed.data.predicate;
    return job === file.id && epoch === file.epoch && worker.id === file.claimant ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
