import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RateLimits } from './rate-limits.ts';

describe('RateLimits', () => {
  test('in any span of time nobody gets more than the burst and what the rate gives', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(400), { maxLength: 200 }), (pauses) => {
        let now = 0;
        const limits = new RateLimits({ perSecond: 10, burst: 5 }, () => now);
        const taken: number[] = [];
        for (const pause of pauses) {
          now += pause;
          if (limits.take('a') === 0) taken.push(now);
        }
        for (let from = 0; from < taken.length; from += 1)
          for (let to = from; to < taken.length; to += 1) {
            const seconds = ((taken[to] ?? 0) - (taken[from] ?? 0)) / 1_000;
            expect(to - from + 1).toBeLessThanOrEqual(5 + seconds * 10 + 1e-6);
          }
      }),
    );
  });

  test('whoever waits as long as it is told gets the next, and one flood is nobody else’s', () => {
    let now = 0;
    const limits = new RateLimits({ perSecond: 4, burst: 2 }, () => now);
    for (let at = 0; at < 100; at += 1) limits.take('flood');
    const waitMs = limits.take('flood');
    expect([waitMs, limits.take('other')]).toEqual([250, 0]);
    now += waitMs;
    expect(limits.take('flood')).toBe(0);
  });
});
