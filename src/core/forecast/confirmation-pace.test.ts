import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { OFFER } from '../../../test/support/sample-offer.ts';
import { AdmissionRule, excessOf, type Standing } from './admission-limits.ts';
import { BACKLOG, ConfirmationPace } from './confirmation-pace.ts';

/** Watched for so long (ms), while the log grew at this pace. */
function watched(perMs: number, forMs: number, everyMs = 200): ConfirmationPace {
  const pace = new ConfirmationPace();
  for (let at = 0; at <= forMs; at += everyMs) pace.note(1_000_000 + at, Math.floor(500 + at * perMs));
  return pace;
}

describe('how long an answer waits for its confirmation', () => {
  test('is what is before it, at the pace at which the log grows', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.05, max: 20, noNaN: true }),
        fc.integer({ min: BACKLOG, max: 100_000 }),
        fc.integer({ min: 4_000, max: 60_000 }),
        (perMs, unconfirmed, forMs) => {
          const waitMs = watched(perMs, forMs).waitMs(unconfirmed);
          expect(waitMs / (unconfirmed / perMs)).toBeGreaterThan(0.9);
          expect(waitMs / (unconfirmed / perMs)).toBeLessThan(1.1);
        },
      ),
    );
  });

  test('is not told of a few, nor before the pace was watched, nor of a time that runs backwards', () => {
    expect(watched(0.1, 10_000).waitMs(BACKLOG - 1)).toBe(0);
    expect(watched(0, 1_000).waitMs(1_000)).toBe(0);
    const pace = watched(1, 10_000);
    pace.note(5, 0);
    expect(pace.waitMs(1_000)).toBeCloseTo(1_000, -2);
  });

  test('grows where attestors stand still, and is then too long for whoever asks for more than its share first', () => {
    const pace = watched(1, 5_000);
    for (let at = 0; at <= 20_000; at += 200) pace.note(1_005_200 + at, 5_500);
    expect(pace.waitMs(1_000)).toBeGreaterThan(20_000);
    const within: Standing = { ends: 0, ahead: 0, distance: 0, ties: 0, backloggedMs: 0 };
    const beyond: Standing = { ...within, ends: 1, ahead: 1, distance: 1 };
    const refused = (afterMs: number) => {
      const offer = { ...OFFER, afterMs };
      const limits = new AdmissionRule(0.99).limits(offer, 5_000, 100);
      return [within, beyond].map((standing) => excessOf(offer, limits, standing) > 0);
    };
    expect([100, 4_700, 20_000].map(refused)).toEqual([
      [false, false],
      [false, true],
      [true, true],
    ]);
  });
});
