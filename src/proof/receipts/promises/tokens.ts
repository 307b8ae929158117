import { z } from 'zod';
import { Count, Digest } from '../fields.ts';
import { definePromise } from './promise.ts';

/** The attestor replays the tokens of a share of answers on its own copy of the model. */
export const tokens = definePromise({
  name: 'tokens',
  policy: {
    /** The share of jobs whose tokens it replays, drawn in secret. */
    tokens: z.number().gt(0).max(1).optional(),
  },
  description: '`tokens`: the share whose tokens are replayed on its own copy of the model',
  evidence: {
    /** The digest of the answer's token ids, 32 bits each, little-endian. */
    tokens: Digest.optional(),
  },
  verdict: {
    /** Present where the policy promises it; with measurements where the job was drawn. */
    tokens: z
      .strictObject({
        promisedShare: z.number().min(0).max(1),
        drawn: z.boolean(),
        tokens: Count.optional(),
        margin: z.number().min(0).optional(),
        limit: z.number().min(0).optional(),
        calibration: Digest.optional(),
      })
      .optional(),
  },
  properties: ['TOKENS_REPLAYED'],
  notChecked: [],
  share: (policy) => policy.tokens ?? 0,
  isLeftOut: (verdict) => verdict.tokens?.drawn === false,
  needsTokens: (policy) => policy.tokens !== undefined,
  broken({ task, policy, evidence, verdict: { tokens: said }, properties }) {
    const isDrawn = said?.drawn === true;
    if (
      said?.promisedShare !== policy.tokens ||
      (policy.tokens === 1 && !isDrawn) ||
      isDrawn !== properties.has('TOKENS_REPLAYED')
    )
      return 'The tokens were not replayed as the ticket promised.';
    if (said === undefined) return undefined;
    const { tokens: judged, margin, limit, calibration } = said;
    if (!isDrawn)
      return [judged, margin, limit, calibration].every((value) => value === undefined)
        ? undefined
        : 'The verdict measures tokens of a job that was not drawn.';
    if (judged === undefined || margin === undefined || limit === undefined || calibration === undefined)
      return 'The verdict says that tokens were replayed and not with what result.';
    if (task === 'embedding' || evidence.tokens === undefined)
      return 'The verdict says that tokens were replayed, and there are none.';
    if (margin > limit) return 'The verdict says that tokens are likely enough, and names a margin above its limit.';
    const { outputTokens } = evidence.usage;
    // An engine may judge also whether the answer ends where the model ends it.
    return judged > outputTokens + 1 || judged < Math.min(outputTokens, 1)
      ? 'The verdict judges other tokens than the answer has.'
      : undefined;
  },
});
