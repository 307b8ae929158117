import { z } from 'zod';
import { definePromise } from './promise.ts';

/** The attestor computes a share of answers again, drawn in secret. */
export const recompute = definePromise({
  name: 'recompute',
  policy: {
    /** The share of jobs whose answer it computes again. */
    recompute: z.number().min(0).max(1),
  },
  description: '`recompute`: the share of such jobs whose answer is computed again by the attestor',
  evidence: {},
  verdict: {
    recompute: z.strictObject({
      promisedShare: z.number().min(0).max(1),
      drawn: z.boolean(),
      maxAbsDiff: z.number().min(0).optional(),
    }),
  },
  properties: ['OUTPUT_RECOMPUTED_EXACT', 'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE'],
  notChecked: ['OUTPUT_NOT_RECOMPUTED'],
  share: (policy) => policy.recompute,
  broken({ task, policy, verdict: { recompute: said }, properties, notChecked }) {
    const isTolerant = properties.has('OUTPUT_RECOMPUTED_WITHIN_TOLERANCE');
    const isRecomputed = isTolerant || properties.has('OUTPUT_RECOMPUTED_EXACT');
    if (said.promisedShare !== policy.recompute)
      return 'The verdict names another share of recomputation than the ticket promised.';
    if (policy.recompute === 1 && !said.drawn)
      return 'The ticket promised that the answer is computed again, and it was not.';
    if (said.drawn !== isRecomputed)
      return 'The verdict says that the job was drawn for recomputation and does not say that it held, or the reverse.';
    if (isTolerant && task !== 'embedding') return 'A tolerance is for embeddings only.';
    if (isRecomputed === notChecked.has('OUTPUT_NOT_RECOMPUTED'))
      return 'The verdict contradicts itself about what was not checked.';
    return undefined;
  },
});
