import { Usage } from '../fields.ts';
import { definePromise } from './promise.ts';

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
    const isConsistent =
      own === undefined ||
      (own.inputTokens === evidence.usage.inputTokens && own.outputTokens <= evidence.usage.outputTokens);
    return properties.has('USAGE_RETOKENIZED') !== (own !== undefined) || !isConsistent
      ? 'The verdict contradicts itself or the evidence about the usage.'
      : undefined;
  },
});
