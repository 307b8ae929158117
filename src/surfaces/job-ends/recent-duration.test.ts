import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { recentAverage } from './recent-duration.ts';

describe('the average of recent durations', () => {
  test('begins with the first one, and moves a tenth of the way to each next one', () => {
    expect(recentAverage(undefined, 500)).toBe(500);
    expect(recentAverage(500, 1_500)).toBe(600);
  });

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('is not changed by %d, which skewed clocks produce', (ms) => {
    expect(recentAverage(500, ms)).toBe(500);
    expect(recentAverage(undefined, ms)).toBeUndefined();
  });

  test('always lies between the shortest and the longest duration', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 1_000_000 }), { minLength: 1 }), (durations) => {
        const average = durations.reduce<number | undefined>(recentAverage, undefined) ?? 0;
        expect(average).toBeGreaterThanOrEqual(Math.min(...durations) - 1e-6);
        expect(average).toBeLessThanOrEqual(Math.max(...durations) + 1e-6);
      }),
    );
  });
});
