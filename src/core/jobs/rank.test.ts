import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HIGHEST_PRIORITY, priorityOf, rankOf } from './rank.ts';

test('ranks go by priority, then by deadline, are numbers that scripts can hold, and say their priority', () => {
  const priorities = fc.integer({ min: -10, max: HIGHEST_PRIORITY });
  const deadlines = fc.integer({ min: 1, max: 4_102_444_800_000 });
  fc.assert(
    fc.property(priorities, deadlines, priorities, deadlines, (one, early, other, late) => {
      const [a, b] = [rankOf(one, early), rankOf(other, late)];
      expect(Math.sign(a - b)).toBe(Math.sign(other - one) || Math.sign(early - late));
      expect(Number.isSafeInteger(a)).toBe(true);
      expect(String(a).length).toBeLessThanOrEqual(16);
      expect(priorityOf(a)).toBe(one);
    }),
  );
});
