import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RunTimes } from './run-times.ts';

test('the least that a run takes is at most half of the shortest of the last many, and unknown before a hundred', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 250 }), (took) => {
      const times = new RunTimes();
      for (const [at, ms] of took.entries()) {
        times.note('m', ms);
        const lately = took.slice(Math.max(0, at - 50), at + 1);
        if (at + 1 < 100) expect(times.leastMs('m')).toBe(0);
        else expect(times.leastMs('m')).toBeLessThanOrEqual(0.5 * Math.min(...lately) + 1e-9);
        expect(times.meanMs('m')).toBeGreaterThanOrEqual(Math.min(...took));
        expect(times.meanMs('m')).toBeLessThanOrEqual(Math.max(...took));
      }
      expect([times.meanMs('another'), times.leastMs('another')]).toEqual([undefined, 0]);
    }),
    { numRuns: 40 },
  );
});
