import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MOST_RETRIES, retriesEarned } from './retry-budget.ts';

test('retries never come to more than a tenth of the first tries, beyond those that a queue has in hand', () => {
  const step = fc.record({ firsts: fc.nat(500), failing: fc.nat(500) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), fc.nat(400), (steps, slots) => {
      const inHand = Math.max(MOST_RETRIES, slots);
      let left = MOST_RETRIES;
      let [firsts, retries] = [0, 0];
      for (const one of steps) {
        const granted = Math.min(one.failing, Math.floor(left));
        left = retriesEarned(left - granted, one.firsts, slots);
        firsts += one.firsts;
        retries += granted;
        expect(left).toBeGreaterThanOrEqual(0);
        expect(left).toBeLessThanOrEqual(inHand);
        expect(retries).toBeLessThanOrEqual(MOST_RETRIES + firsts / 10 + 1e-6);
      }
    }),
  );
});
