import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MAX_SEED, seedOf, steadySampling } from './sampling.ts';

describe('the numbers that an answer is drawn with', () => {
  test('a seed is what was asked where it can be, and never the one that means a choice of the engine', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (wanted) => {
        const seed = seedOf(wanted);
        expect(Number.isInteger(seed) && seed >= 0 && seed <= MAX_SEED).toBe(true);
        if (wanted >= 0 && wanted <= MAX_SEED) expect(seed).toBe(wanted);
      }),
    );
    expect([-1, 4_294_967_295, -4_294_967_295, Number.MAX_SAFE_INTEGER].map(seedOf)).toEqual([
      4_294_967_294, 0, 0, 2_097_151,
    ]);
  });

  test('temperatures that engines cannot divide by are 0, and top_p 0 is the likeliest token', () => {
    const sampling = (temperature: number, top_p = 1) => steadySampling({ temperature, top_p });
    for (const temperature of [0, 5e-324, 1e-40, 0.0099]) expect(sampling(temperature)).toEqual(sampling(0));
    for (const temperature of [0.01, 1, 2]) expect(sampling(temperature).temperature).toBe(temperature);
    expect(sampling(1.3, 0)).toEqual({ temperature: 0, top_p: 1 });
    expect(sampling(1.3, 5e-324)).toEqual({ temperature: 1.3, top_p: 5e-324 });
  });
});
