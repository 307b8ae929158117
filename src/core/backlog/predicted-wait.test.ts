import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { predictedWaitMs } from './predicted-wait.ts';

const standard = (waiting: number) => ({ interactive: 0, standard: waiting, batch: 0 });

describe('the wait of a job that comes now', () => {
  test.each([
    [
      'a place is free',
      { given: 0, backlogs: standard(0), running: 3, slots: 4, coldMs: 0, tookMs: 1_000, state: 'open' },
      0,
    ],
    [
      'one ends in a quarter of the time',
      { given: 0, backlogs: standard(0), running: 4, slots: 4, coldMs: 0, tookMs: 1_000, state: 'open' },
      250,
    ],
    [
      'the one before it ends, and ten wait',
      { given: 0, backlogs: standard(10), running: 1, slots: 1, coldMs: 0, tookMs: 200, state: 'open' },
      2_200,
    ],
    [
      'nobody works',
      { given: 0, backlogs: standard(3), running: 0, slots: 0, coldMs: 0, tookMs: 200, state: 'open' },
      undefined,
    ],
    [
      'its pool is paused',
      { given: 0, backlogs: standard(3), running: 1, slots: 1, coldMs: 0, tookMs: 200, state: 'paused' },
      undefined,
    ],
    [
      'its pool is drained',
      { given: 0, backlogs: standard(3), running: 1, slots: 1, coldMs: 0, tookMs: 200, state: 'draining' },
      undefined,
    ],
    [
      'no worker has its model in memory',
      { given: 0, backlogs: standard(2), running: 0, slots: 1, coldMs: 900, tookMs: 200, state: 'open' },
      1_300,
    ],
    [
      'nothing was confirmed yet',
      { given: 0, backlogs: standard(3), running: 1, slots: 1, coldMs: 0, tookMs: undefined, state: 'open' },
      undefined,
    ],
  ] as const)('%s', (_, figures, expected) => {
    expect(predictedWaitMs(figures, 'standard')).toBe(expected);
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
        const predicted = predictedWaitMs(
          { given: 0, backlogs: standard(waiting), running: slots, slots, coldMs: 0, tookMs, state: 'open' },
          'standard',
        );
        expect(Math.abs((predicted ?? NaN) - begins)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('is as long as that of its own band, and what the others may take meanwhile', () => {
    const queue = { given: 2, running: 4, slots: 4, coldMs: 0, tookMs: 400, state: 'open' } as const;
    const flood = { interactive: 0, standard: 1_000, batch: 100_000 };
    // Two that were given come first, and nothing else is interactive.
    expect(predictedWaitMs({ ...queue, backlogs: flood }, 'interactive')).toBe(300);
    // For each 30 of the standard band, 10 of the batches.
    expect(predictedWaitMs({ ...queue, backlogs: flood }, 'standard')).toBe((2 + 1_000 + 334 + 1) * 100);
    // Those of the standard band are gone before.
    expect(predictedWaitMs({ ...queue, backlogs: flood }, 'batch')).toBe((2 + 100_000 + 1_000 + 1) * 100);
  });
});
