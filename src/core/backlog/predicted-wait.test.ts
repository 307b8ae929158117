import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { predictedWaitMs } from './predicted-wait.ts';

describe('the wait of a job that comes now', () => {
  test.each([
    ['a place is free', { waiting: 0, heldBack: 0, running: 3, slots: 4, coldMs: 0, tookMs: 1_000, state: 'open' }, 0],
    [
      'one ends in a quarter of the time',
      { waiting: 0, heldBack: 0, running: 4, slots: 4, coldMs: 0, tookMs: 1_000, state: 'open' },
      250,
    ],
    [
      'the one before it ends, and ten wait',
      { waiting: 14, heldBack: 4, running: 1, slots: 1, coldMs: 0, tookMs: 200, state: 'open' },
      2_200,
    ],
    [
      'nobody works',
      { waiting: 3, heldBack: 0, running: 0, slots: 0, coldMs: 0, tookMs: 200, state: 'open' },
      undefined,
    ],
    [
      'its pool is paused',
      { waiting: 3, heldBack: 0, running: 1, slots: 1, coldMs: 0, tookMs: 200, state: 'paused' },
      undefined,
    ],
    [
      'its pool is drained',
      { waiting: 3, heldBack: 0, running: 1, slots: 1, coldMs: 0, tookMs: 200, state: 'draining' },
      undefined,
    ],
    [
      'no worker has its model in memory',
      { waiting: 2, heldBack: 0, running: 0, slots: 1, coldMs: 900, tookMs: 200, state: 'open' },
      1_300,
    ],
    [
      'nothing was confirmed yet',
      { waiting: 3, heldBack: 0, running: 1, slots: 1, coldMs: 0, tookMs: undefined, state: 'open' },
      undefined,
    ],
  ] as const)('%s', (_, figures, expected) => {
    expect(predictedWaitMs(figures)).toBe(expected);
  });

  test('is what the slots take when each job takes just the mean', () => {
    const count = fc.integer({ min: 0, max: 60 });
    const takes = fc.integer({ min: 1, max: 5_000 });
    fc.assert(
      fc.property(count, fc.integer({ min: 1, max: 12 }), takes, (waiting, slots, tookMs) => {
        // Slots whose jobs end evenly spread, as they do after a while.
        const ends = Array.from({ length: slots }, (_, at) => ((at + 1) * tookMs) / slots);
        for (let job = 0; job < waiting; job += 1) ends.push(Math.min(...ends.splice(0, 1)) + tookMs);
        const begins = ends[0] ?? 0;
        const predicted = predictedWaitMs({
          waiting,
          heldBack: 0,
          running: slots,
          slots,
          coldMs: 0,
          tookMs,
          state: 'open',
        });
        expect(Math.abs((predicted ?? NaN) - begins)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
