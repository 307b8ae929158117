import { definePromise } from './promise.ts';

/** A receipt says whether the worker measured its weights, or the operator only declared them. */
export const weights = definePromise({
  name: 'weights',
  policy: {},
  evidence: {},
  verdict: {},
  properties: [],
  notChecked: ['WEIGHTS_DECLARED_NOT_MEASURED'],
  broken({ evidence, notChecked }) {
    return evidence.model.measured === notChecked.has('WEIGHTS_DECLARED_NOT_MEASURED')
      ? 'The verdict hides or invents that the weights were only declared.'
      : undefined;
  },
});
