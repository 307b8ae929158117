import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { MAX_SUBMITTED_AT_ONCE, SubmissionPace } from './submission-pace.ts';

describe('the pace of a batch', () => {
  test('is many at once, after a refusal none for as long as it says, then one, then more', () => {
    const pace = new SubmissionPace();
    expect(pace.waitMs(MAX_SUBMITTED_AT_ONCE - 1, 0)).toBe(0);
    expect(pace.waitMs(MAX_SUBMITTED_AT_ONCE, 0)).toBe(Infinity);
    pace.refused(0, 7_000);
    expect([pace.waitMs(0, 1_000), pace.waitMs(0, 7_000), pace.waitMs(1, 7_000)]).toEqual([6_000, 0, Infinity]);
    pace.accepted();
    expect([pace.waitMs(1, 7_000), pace.waitMs(2, 7_000)]).toEqual([0, Infinity]);
  });

  test('is tried again at once when one of its own jobs has ended, one line at a time', () => {
    const pace = new SubmissionPace();
    pace.refused(0, 60_000);
    pace.freed(10);
    expect([pace.waitMs(0, 10), pace.waitMs(1, 10)]).toEqual([0, Infinity]);
  });

  test('refused again and again without a time, waits twice as long each time, and half a minute at most', () => {
    const pace = new SubmissionPace();
    let now = 0;
    const pauses = Array.from({ length: 9 }, () => {
      // Those that were under way together count once.
      for (let at = 0; at < 5; at += 1) pace.refused(now, undefined);
      const wait = pace.waitMs(0, now);
      now += wait;
      return wait;
    });
    expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  test('in a day of refusals of any kind, fewer tries than one in half a second, and never an end to them', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat({ max: 10_000_000 }), { nil: undefined }), { minLength: 1 }), (asked) => {
        const pace = new SubmissionPace();
        let now = 0;
        for (const one of asked) {
          pace.refused(now, one);
          const wait = pace.waitMs(0, now);
          expect(wait).toBeGreaterThan(0);
          expect(wait).toBeLessThanOrEqual(60_000);
          now += wait;
        }
      }),
    );
  });
});
