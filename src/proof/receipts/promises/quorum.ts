import { z } from 'zod';
import { Count, Digest, Epoch, Name, WorkerId } from '../fields.ts';
import { definePromise } from './promise.ts';

/** Workers of different operators give the same answer. */
export const quorum = definePromise({
  name: 'quorum',
  policy: {
    /** How many workers of different operators must agree, and how many are asked at most. */
    quorum: z
      .strictObject({ of: z.number().int().min(2).max(5), agree: z.number().int().min(2).max(5) })
      .refine(({ of, agree }) => agree <= of && agree * 2 > of, { message: 'agree must be more than half of of' })
      .optional(),
  },
  description: '`quorum`: how many workers of different operators must give the same answer, of how many',
  evidence: {},
  verdict: {
    /** Present where the policy wants one: the attempts that gave this answer, and who made them. */
    quorum: z
      .strictObject({
        of: Count,
        agree: Count,
        votes: z.array(z.strictObject({ epoch: Epoch, worker: WorkerId, operator: Name, evidence: Digest })).max(5),
      })
      .optional(),
  },
  properties: ['QUORUM_AGREED'],
  notChecked: [],
  share: (policy) => (policy.quorum === undefined ? 0 : 1),
  runs: (policy) => policy.quorum?.of ?? 1,
  paidRuns: (verdict) => verdict.quorum?.votes.length ?? 1,
  isSealed: (policy) => policy.quorum !== undefined,
  broken({ policy: { quorum: promise }, evidence, evidenceSha256, verdict: { epoch, quorum: said }, properties }) {
    if ((promise === undefined) !== (said === undefined) || (promise !== undefined) !== properties.has('QUORUM_AGREED'))
      return 'The answer was not agreed upon as the ticket promised.';
    if (promise === undefined || said === undefined) return undefined;
    const { votes } = said;
    const own = votes.find((vote) => vote.epoch === epoch);
    const isKept =
      said.of === promise.of &&
      said.agree === promise.agree &&
      votes.length >= promise.agree &&
      votes.length <= promise.of &&
      votes.every((vote) => vote.epoch <= epoch) &&
      new Set(votes.map((vote) => vote.epoch)).size === votes.length &&
      new Set(votes.map((vote) => vote.evidence.sha256)).size === votes.length &&
      new Set(votes.map(({ operator }) => operator)).size === votes.length &&
      new Set(votes.map(({ worker }) => worker)).size === votes.length &&
      own?.worker === evidence.worker.id &&
      own.evidence.sha256 === evidenceSha256;
    return isKept ? undefined : 'Fewer workers of different operators agreed than the ticket promised.';
  },
});
