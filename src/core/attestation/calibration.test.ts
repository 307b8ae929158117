import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { limitsOf, noiseOf, sumOfMargins } from './calibration.ts';

const margins = fc.array(fc.array(fc.double({ min: 0, max: 0.5, noNaN: true }), { minLength: 1, maxLength: 40 }), {
  minLength: 1,
  maxLength: 20,
});

describe('noiseOf', () => {
  test('every margin is in one range of the histogram, and the largest is known', () => {
    fc.assert(
      fc.property(margins, (replays) => {
        const noise = noiseOf(replays);
        expect(noise.tokens).toBe(replays.flat().length);
        expect(noise.histogram.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(noise.tokens);
        expect(noise.largest).toBe(Math.max(...replays.flat()));
      }),
    );
  });
});

describe('limitsOf', () => {
  test('no margin that was measured is out of place', () => {
    fc.assert(
      fc.property(margins, (replays) => {
        const { single } = limitsOf(noiseOf(replays), 10);
        expect(replays.flat().every((margin) => margin <= single)).toBe(true);
      }),
    );
  });

  test('a longer answer may differ by more in all, and by less for each token', () => {
    const noise = noiseOf([[0, 0, 0.1, 0, 0.02]]);
    const [short, long] = [limitsOf(noise, 10).sum, limitsOf(noise, 1_000).sum];
    expect(long).toBeGreaterThan(short);
    expect(long / 1_000).toBeLessThan(short / 10);
  });
});

describe('sumOfMargins', () => {
  test('one token cannot carry a verdict by itself: it counts up to the clip', () => {
    expect(sumOfMargins([20, 0.5], { measure: 'margin' })).toBe(1.5);
    expect(sumOfMargins([20, 0.5], { measure: 'surprise' })).toBe(12.5);
  });
});
