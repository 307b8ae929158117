import { describe, expect, test } from '@jest/globals';
import { SeededDraws } from './seeded-draws.ts';

describe('SeededDraws', () => {
  test('the words are those of std::mt19937: the first two of the seed 1, and the 10,000th of 5489', () => {
    expect(new SeededDraws(1).next()).toBeCloseTo((1_791_095_845 + 4_282_876_139 * 2 ** 32) / 2 ** 64, 12);
    const draws = new SeededDraws(5_489);
    // The standard names the 10,000th word; a draw takes two, and the second weighs most.
    for (let number = 1; number < 5_000; number += 1) draws.next();
    expect(Math.floor(draws.next() * 2 ** 32)).toBe(4_123_659_995);
  });

  test('a seed always draws alike, and every draw is at least 0 and below 1', () => {
    const [one, other] = [new SeededDraws(7), new SeededDraws(7)];
    for (let number = 0; number < 2_000; number += 1) {
      const draw = one.next();
      expect(draw).toBe(other.next());
      expect(draw >= 0 && draw < 1).toBe(true);
    }
  });
});
