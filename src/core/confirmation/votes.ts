import type { Redis } from 'ioredis';
import type { Vote } from '../attestation/quorum.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { decodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Evidence } from '../../proof/receipts/statements.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';

/** An attempt as a vote, in the name of whoever runs its worker. */
export function voteOf(
  enrolled: EnrolledWorkers,
  epoch: number,
  evidence: Evidence,
  evidenceSigned: SignedPayload,
): Vote {
  const worker = evidence.predicate.worker.id;
  return {
    epoch,
    worker,
    operator: enrolled.operatorOf(worker) ?? worker,
    evidenceSha256: sha256Hex(evidenceSigned.payload),
    outputSha256: evidence.subject[0].digest.sha256,
  };
}

/** The attempts that were closed as votes: their evidence was bound and checked then, and is never changed. */
export async function votesBefore(
  redis: Redis,
  keys: RedisKeys,
  enrolled: EnrolledWorkers,
  { id, epoch: current }: CaseFile,
): Promise<Vote[]> {
  const epochs = Array.from({ length: current - 1 }, (_, at) => at + 1);
  if (epochs.length === 0) return [];
  const [closings, commits] = await Promise.all([
    redis.hmget(keys.ruling(id), ...epochs.map((epoch) => `x${epoch}`)),
    redis.hmget(keys.claims(id), ...epochs.map((epoch) => `c${epoch}`)),
  ]);
  const votes = await Promise.all(
    epochs.map(async (epoch, at) => {
      if (closings[at]?.startsWith('voted ') !== true) return undefined;
      const [field = ''] = (commits[at] ?? '').split(' ');
      const stored = await redis.hgetBuffer(keys.evidence(id), field);
      const evidenceSigned = stored === null ? undefined : decodeStored(stored);
      if (evidenceSigned === undefined) throw new Error(`The evidence of a vote on ${id} is gone.`);
      return voteOf(enrolled, epoch, JSON.parse(evidenceSigned.payload.toString('utf8')) as Evidence, evidenceSigned);
    }),
  );
  return votes.filter((vote) => vote !== undefined);
}
