import { definePromise } from './promise.ts';

/** What every confirmation says, whatever its policy: ticket, evidence and answer belong together. */
export const BINDING_PROPERTIES = [
  'TICKET_SIGNATURE',
  'WORKER_ENROLLED',
  'WORKER_SIGNATURE',
  'TICKET_MATCHED',
  'EPOCH_CURRENT',
  'MODEL_DIGEST_MATCHED',
  'OUTPUT_DIGEST_MATCHED',
  'USAGE_WITHIN_BOUNDS',
] as const;

export const binding = definePromise({
  name: 'binding',
  policy: {},
  evidence: {},
  verdict: {},
  properties: BINDING_PROPERTIES,
  notChecked: [],
  broken({ task, evidence, properties }) {
    const missing = BINDING_PROPERTIES.find((name) => !properties.has(name));
    if (missing !== undefined) return `The verdict does not say ${missing}, which every confirmation needs.`;
    if (Date.parse(evidence.finishedAt) < Date.parse(evidence.startedAt))
      return 'The verdict confirms an answer that was finished before it was begun.';
    return (evidence.finishReason === 'none') === (task === 'embedding')
      ? undefined
      : 'The verdict confirms an answer that ended as none of its task does.';
  },
});
