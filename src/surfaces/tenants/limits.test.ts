import { describe, expect, test } from '@jest/globals';
import { Limits, NO_LIMITS } from './limits.ts';

describe('limits', () => {
  test('an absent limit does not limit, and a spend of nothing is a limit', () => {
    expect(Limits.parse({})).toEqual(NO_LIMITS);
    expect(Limits.parse({ spend: 0 })).toEqual({ spend: 0 });
  });

  test.each([
    { requests_per_minute: 0 },
    { tokens_per_minute: 1.5 },
    { concurrent_jobs: -1 },
    { concurrent_jobs: '5' },
    { spend: Number.POSITIVE_INFINITY },
    { spend: null },
    { request_per_minute: 5 },
  ])('%j is refused: a limit with a slip would not limit', (limits) => {
    expect(Limits.safeParse(limits).success).toBe(false);
  });
});
