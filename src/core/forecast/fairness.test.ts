import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { jainIndex } from './fairness.ts';

describe("Jain's index", () => {
  test('is one where all have alike, one over their number where one has all, and the same in any unit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 2, maxLength: 20 }),
        fc.integer({ min: 1, max: 1_000 }),
        (values, unit) => {
          const index = jainIndex(values);
          expect(index).toBeLessThanOrEqual(1 + 1e-9);
          expect(index).toBeGreaterThanOrEqual(1 / values.length - 1e-9);
          expect(jainIndex(values.map((value) => value * unit))).toBeCloseTo(index, 6);
          expect(jainIndex(values.map(() => unit))).toBeCloseTo(1, 9);
          expect(jainIndex(values.map((_, at) => (at === 0 ? unit : 0)))).toBeCloseTo(1 / values.length, 9);
        },
      ),
      { numRuns: 50 },
    );
  });
});
