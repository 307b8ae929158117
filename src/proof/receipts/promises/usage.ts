import { Usage } from '../fields.ts';
import { definePromise } from './promise.ts';

/** What an attestor says once it has run the model itself, and counted. */
const RUNS = ['OUTPUT_RECOMPUTED_EXACT', 'OUTPUT_RECOMPUTED_WITHIN_TOLERANCE', 'TOKENS_REPLAYED'];

/** The attestor counts what the job is charged for; its count is never more than the worker's. */
export const usage = definePromise({
  name: 'usage',
  policy: {},
  evidence: {},
  verdict: {
    /** Present where the attestor's own tokenizer counted what the job is charged for. */
    usage: Usage.optional(),
  },
  properties: ['USAGE_RECOUNTED', 'USAGE_RETOKENIZED'],
  notChecked: [],
  broken({ evidence, verdict: { usage: own }, properties }) {
    const isRunAgain = RUNS.some((word) => properties.has(word));
    if (properties.has('USAGE_RECOUNTED') !== isRunAgain)
      return 'The verdict says that usage was counted by another run and names no such run, or the reverse.';
    const isConsistent =
      own === undefined ||
      (own.inputTokens === evidence.usage.inputTokens && own.outputTokens <= evidence.usage.outputTokens);
    return properties.has('USAGE_RETOKENIZED') !== (own !== undefined) || !isConsistent
      ? 'The verdict contradicts itself or the evidence about the usage.'
      : undefined;
  },
});
