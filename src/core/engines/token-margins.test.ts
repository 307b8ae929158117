import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MAX_MARGIN, greedyMargin, sampledMargin } from './token-margins.ts';

/** Probabilities of tokens 0, 1, … in falling order. */
const distributions = fc
  .array(fc.double({ min: 0.001, max: 1, noNaN: true }), { minLength: 2, maxLength: 20 })
  .map((weights) => {
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const falling = weights.map((weight) => weight / sum).sort((a, b) => b - a);
    return new Map(falling.map((probability, token) => [token, probability] as const));
  });

/** What a sampler picks that goes through the probabilities in falling order. */
function picked(probabilities: ReadonlyMap<number, number>, draw: number): number {
  let sum = 0;
  for (const [token, probability] of probabilities) {
    sum += probability;
    if (sum >= draw) return token;
  }
  return probabilities.size - 1;
}

test('the likeliest token has no margin, and no other has less than it', () => {
  fc.assert(
    fc.property(distributions, (probabilities) => {
      const margins = [...probabilities.keys()].map((token) => greedyMargin(probabilities, token));
      expect(margins[0]).toBe(0);
      expect(margins).toEqual([...margins].sort((a, b) => a - b));
    }),
  );
});

test('half the difference of the logits is what it takes to make two tokens change places', () => {
  const probabilities = new Map([
    [5, 0.8],
    [7, 0.2],
  ]);
  expect(greedyMargin(probabilities, 7)).toBeCloseTo(Math.log(4) / 2, 12);
});

test('the token that was drawn has no margin but what its interval leaves to the draw', () => {
  fc.assert(
    fc.property(distributions, fc.double({ min: 0.001, max: 0.999, noNaN: true }), (probabilities, draw) => {
      expect(sampledMargin(probabilities, picked(probabilities, draw), draw)).toBeCloseTo(0, 12);
    }),
  );
});

test('a draw near the border of two intervals explains the one beyond, and one far from it does not', () => {
  const probabilities = new Map([
    [0, 0.5],
    [1, 0.3],
    [2, 0.2],
  ]);
  expect(sampledMargin(probabilities, 1, 0.499)).toBeLessThan(0.01);
  expect(sampledMargin(probabilities, 2, 0.1)).toBeGreaterThan(0.4);
});

test('a token that the model gives no probability has the largest margin there is', () => {
  const probabilities = new Map([[0, 1]]);
  expect(greedyMargin(probabilities, 9)).toBe(MAX_MARGIN);
  expect(sampledMargin(probabilities, 9, 0.5)).toBe(MAX_MARGIN);
});
