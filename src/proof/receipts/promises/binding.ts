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
  broken({ properties }) {
    const missing = BINDING_PROPERTIES.find((name) => !properties.has(name));
    return missing && `The verdict does not say ${missing}, which every confirmation needs.`;
  },
});
