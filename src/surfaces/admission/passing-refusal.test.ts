import { expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { ErrorCode } from '../../ground/errors/catalog.ts';
import { isPassing } from './passing-refusal.ts';

const refused = (code: ErrorCode, headers = {}) => new CodedError(code, 'No.', { headers });

test('what passes is tried again, and what is refused for what it asks is not', () => {
  for (const code of [
    'rate_limited',
    'spend_held',
    'storage_full',
    'share_exceeded',
    'deadline_unreachable',
    'pool_draining',
  ] as const)
    expect(isPassing(refused(code))).toBe(true);
  for (const code of ['request_exceeds_limit', 'spend_exceeded', 'model_not_found'] as const)
    expect(isPassing(refused(code))).toBe(false);
});

test('a place far off is no reason to give up, and a limit that will never do is', () => {
  const far = { 'retry-after': '400', 'x-should-retry': 'false' };
  expect(isPassing(refused('share_exceeded', far))).toBe(true);
  expect(isPassing(refused('rate_limited', far))).toBe(false);
});
