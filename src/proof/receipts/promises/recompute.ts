import { z } from 'zod';
import { definePromise } from './promise.ts';

/**
 * The most by which a number of an embedding may differ from the attestor's own. Measured on one runtime the
 * difference is 0; the bound leaves room for another CPU's rounding and for nothing else.
 */
export const MAX_ABS_DIFF = 1e-4;

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
    const isExact = properties.has('OUTPUT_RECOMPUTED_EXACT');
    const isRecomputed = isTolerant || isExact;
    if (said.promisedShare !== policy.recompute)
      return 'The verdict names another share of recomputation than the ticket promised.';
    if (policy.recompute === 1 && !said.drawn)
      return 'The ticket promised that the answer is computed again, and it was not.';
    if (said.drawn !== isRecomputed)
      return 'The verdict says that the job was drawn for recomputation and does not say that it held, or the reverse.';
    if (isTolerant && isExact) return 'The verdict says both that the answer is the same and that it differs.';
    if (isTolerant && task !== 'embedding') return 'A tolerance is for embeddings only.';
    if (isTolerant !== (said.maxAbsDiff !== undefined))
      return 'The verdict names a difference and no tolerance that was met, or the reverse.';
    if (said.maxAbsDiff !== undefined && said.maxAbsDiff > MAX_ABS_DIFF)
      return 'The verdict says that a tolerance was met, and names a difference above it.';
    if (isRecomputed === notChecked.has('OUTPUT_NOT_RECOMPUTED'))
      return 'The verdict contradicts itself about what was not checked.';
    return undefined;
  },
});
