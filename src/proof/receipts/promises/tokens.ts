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
  needsTokens: (policy) => policy.tokens !== undefined,
  broken({ policy, evidence, verdict: { tokens: said }, properties }) {
    const isDrawn = said?.drawn === true;
    if (
      said?.promisedShare !== policy.tokens ||
      (policy.tokens === 1 && !isDrawn) ||
      isDrawn !== properties.has('TOKENS_REPLAYED')
    )
      return 'The tokens were not replayed as the ticket promised.';
    if (!isDrawn) return undefined;
    const { margin, limit, calibration } = said;
    const isMeasured = margin !== undefined && limit !== undefined && calibration !== undefined;
    return !isMeasured || evidence.tokens === undefined || margin > limit
      ? 'The verdict says that tokens were replayed and not with what result.'
      : undefined;
  },
});
