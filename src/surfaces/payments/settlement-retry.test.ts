import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { settlementRetryMs } from './settlement-retry.ts';

describe('retries of a settlement', () => {
  test('wait twice as long each time, and never longer than a minute', () => {
    expect([0, 1, 2, 5, 6, 7].map(settlementRetryMs)).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
    fc.assert(
      fc.property(fc.nat(), (tries) => {
        expect(settlementRetryMs(tries)).toBeLessThanOrEqual(60_000);
        expect(settlementRetryMs(tries + 1)).toBeGreaterThanOrEqual(settlementRetryMs(tries));
      }),
    );
  });
});
