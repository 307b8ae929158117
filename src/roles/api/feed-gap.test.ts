import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { before, gapAfter } from './feed-gap.ts';

const id = fc.tuple(fc.nat(), fc.nat({ max: 5 })).map(([ms, number]) => `${ms + 1}-${number}`);
const order = (a: string, b: string) => {
  const [x = [], y = []] = [a, b].map((one) => one.split('-').map(Number));
  return (x[0] ?? 0) - (y[0] ?? 0) || (x[1] ?? 0) - (y[1] ?? 0);
};

describe('a gap in a feed', () => {
  test('is where the event that was seen last is older than all that is kept, or newer, or nothing is kept', () => {
    expect(gapAfter('5-0', '5-0', '9-0')).toBeUndefined();
    expect(gapAfter('9-0', '5-0', '9-0')).toBeUndefined();
    expect(gapAfter('4-9', '5-0', '9-0')).toBe('5-0');
    expect(gapAfter('9-1', '5-0', '9-0')).toBe('5-0');
    expect(gapAfter('10-0', '5-0', '9-0')).toBe('5-0');
    expect(gapAfter('5-0', undefined, undefined)).toBe('');
  });

  test('whatever was seen and whatever is kept: either the last one is kept, or between two that are, or it is said', () => {
    fc.assert(
      fc.property(fc.array(id, { minLength: 1 }), id, (ids, last) => {
        const kept = ids.toSorted(order);
        const gap = gapAfter(last, kept[0], kept.at(-1));
        const isWithin = order(kept[0] ?? '', last) <= 0 && order(last, kept.at(-1) ?? '') <= 0;
        expect(gap).toBe(isWithin ? undefined : kept[0]);
      }),
    );
  });

  test('what comes after the id before an event is that event', () => {
    fc.assert(
      fc.property(id, (one) => {
        expect(order(before(one), one)).toBeLessThan(0);
      }),
    );
    expect([before('7-3'), before('7-0'), before('0-0')]).toEqual(['7-2', '6-18446744073709551615', '0-0']);
  });
});
