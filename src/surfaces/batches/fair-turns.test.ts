import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FairTurns } from './fair-turns.ts';

test('steps never have more places than there are, each begins in its turn, and one that wants more has all of them', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 40 }), async (wanted) => {
      const turns = new FairTurns(8);
      let [taken, most] = [0, 0];
      const begun: number[] = [];
      await Promise.all(
        wanted.map((places, at) =>
          turns.take(
            'tenant',
            'batch',
            async () => {
              begun.push(at);
              taken += Math.min(places, 8);
              most = Math.max(most, taken);
              for (let turn = 0; turn <= at % 3; turn += 1) await nextTurn();
              taken -= Math.min(places, 8);
            },
            places,
          ),
        ),
      );
      expect(most).toBeLessThanOrEqual(8);
      // Whoever wants many is not passed by those who want few.
      expect(begun).toEqual(wanted.map((_, at) => at));
    }),
    { numRuns: 50 },
  );
});
