import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { refusalOf } from './batch-jobs.ts';

describe('a line that is refused', () => {
  const refused = (code: 'share_exceeded' | 'deadline_unreachable' | 'request_exceeds_limit', headers = {}) =>
    refusalOf(new CodedError(code, 'No.', { headers }), 0);

  test.each(['share_exceeded', 'deadline_unreachable'] as const)(
    'for %s comes back at its appointment, however far that is',
    (code) => {
      expect(refused(code, { 'retry-after': '1', 'retry-after-ms': '950' })).toEqual({ passes: true, afterMs: 950 });
      expect(refused(code, { 'retry-after': '400', 'x-should-retry': 'false' })).toEqual({
        passes: true,
        afterMs: 400_000,
      });
    },
  );

  test('for what it is does not come back', () => {
    expect(refused('request_exceeds_limit', { 'x-should-retry': 'false' })).toEqual({ passes: false });
    expect(refused('request_exceeds_limit')).toEqual({ passes: false });
  });
});
