import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DEFAULT_HINT } from '../engines/time-hint.ts';
import { hintedMs, type JobSize } from './job-size.ts';
import { SlotTimes } from './slot-times.ts';
import type { Told } from './told.ts';

const SMALL: JobSize = { task: 'completion', maxTokens: 64, inputBytes: 100 };
const LARGE: JobSize = { task: 'completion', maxTokens: 4_096, inputBytes: 100 };

/** Confirms so many jobs that took so long. */
function learned(times: SlotTimes, count: number, tookMs: (size: JobSize) => number, flow = 'a'): SlotTimes {
  for (let at = 0; at < count; at += 1) {
    const size = at % 2 === 0 ? SMALL : LARGE;
    times.learn({ size, flow, tookMs: tookMs(size), cost: times.costOf(size, flow), afterMs: 5, atMs: at });
  }
  return times;
}

/** What it would say of a job (ms). */
const expected = (times: SlotTimes, size: JobSize, flow = 'a') => times.costOf(size, flow) * times.speed;

describe('how long a slot is held', () => {
  test('is what the operator expects, until a job was confirmed', () => {
    const times = new SlotTimes(DEFAULT_HINT);
    expect(times.count).toBe(0);
    expect(times.meanCost).toBeUndefined();
    expect(expected(times, SMALL)).toBeCloseTo(hintedMs(SMALL, DEFAULT_HINT));
  });

  test('is learned by size, however wrong the hint was', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), fc.double({ min: 0.1, max: 10, noNaN: true }), (ms, factor) => {
        const hint = { base_ms: 10 * factor, token_ms: 0.8 * factor };
        const times = learned(new SlotTimes(hint), 600, (size) => (size === SMALL ? ms : 3 * ms));
        expect(expected(times, SMALL) / ms).toBeGreaterThan(0.8);
        expect(expected(times, SMALL) / ms).toBeLessThan(1.25);
        expect(expected(times, LARGE) / (3 * ms)).toBeGreaterThan(0.8);
        expect(expected(times, LARGE) / (3 * ms)).toBeLessThan(1.25);
      }),
      { numRuns: 30 },
    );
  });

  test('is learned by flow: who uses a tenth of its tokens is not taken for one that uses all', () => {
    const times = new SlotTimes(DEFAULT_HINT);
    for (let at = 0; at < 300; at += 1) {
      learned(times, 2, () => 20, 'brief');
      learned(times, 2, () => 200, 'long');
    }
    expect(expected(times, SMALL, 'brief')).toBeLessThan(40);
    expect(expected(times, SMALL, 'long')).toBeGreaterThan(130);
    expect(expected(times, SMALL, 'unknown')).toBeGreaterThan(expected(times, SMALL, 'brief'));
  });

  test('is never less than half of the shortest of the last many, and nothing is said before a hundred', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 250 }), (took) => {
        const times = new SlotTimes(DEFAULT_HINT);
        for (const [at, tookMs] of took.entries()) {
          const [least, ofAny] = [times.leastMs(SMALL), times.leastOfAnyMs];
          if (at < 100) expect([least, ofAny]).toEqual([0, 0]);
          else {
            expect(least).toBeLessThanOrEqual(0.5 * Math.min(...took.slice(Math.max(0, at - 50), at)) + 1e-9);
            expect(ofAny).toBeLessThanOrEqual(least);
          }
          times.learn({ size: SMALL, flow: 'a', tookMs, cost: times.costOf(SMALL, 'a'), afterMs: 1, atMs: at });
        }
      }),
      { numRuns: 50 },
    );
    const steady = learned(new SlotTimes(DEFAULT_HINT), 400, (size) => (size === SMALL ? 100 : 900));
    expect([steady.leastMs(SMALL), steady.leastMs(LARGE), steady.leastOfAnyMs]).toEqual([50, 450, 50]);
    expect(steady.leastMs({ ...SMALL, maxTokens: 100_000 })).toBe(0);
  });

  test('follows a machine that became three times slower within 40 jobs', () => {
    const times = learned(new SlotTimes(DEFAULT_HINT), 500, () => 100);
    learned(times, 40, () => 300);
    expect(expected(times, SMALL)).toBeGreaterThan(220);
  });

  test('keeps a bounded number of flows, those confirmed last', () => {
    const times = new SlotTimes(DEFAULT_HINT);
    for (let at = 0; at < 1_000; at += 1) learned(times, 2, () => 50, `tenant-${at}`);
    expect(times.toText().length).toBeLessThan(22_000);
    expect(times.toText()).toContain('tenant-999');
    expect(times.toText()).not.toContain('tenant-99"');
  });

  test('is read as it was written, and nothing else is read', () => {
    const times = learned(new SlotTimes(DEFAULT_HINT), 50, () => 70);
    const read = SlotTimes.parse(times.toText(), DEFAULT_HINT);
    expect(read?.toText()).toBe(times.toText());
    for (const text of ['', '{}', 'null', '[]', '{"count":"1"}', times.toText().slice(0, -2)])
      expect(SlotTimes.parse(text, DEFAULT_HINT)).toBeUndefined();
  });
});

describe('how far a guess is off', () => {
  const told = (times: SlotTimes): Told => ({
    startMs: 50,
    endMs: 100,
    sdMs: 10,
    meanMs: 40,
    quantiles: { ...(times.quantiles[1] ?? { z10: 0, z50: 0, z90: 0, z99: 0 }) },
  });

  test('is learned until each quantile leaves out what it names', () => {
    const times = new SlotTimes(DEFAULT_HINT);
    let seed = 1;
    const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    let inside = 0;
    for (let at = 0; at < 6_000; at += 1) {
      const one = told(times);
      const end = 80 + 120 * random();
      times.score(one, end, { waiting: 0, slots: 4 });
      const z = (end - one.endMs) / one.sdMs;
      if (at >= 2_000 && z > one.quantiles.z10 && z <= one.quantiles.z90) inside += 1;
    }
    expect(inside / 4_000).toBeGreaterThan(0.76);
    expect(inside / 4_000).toBeLessThan(0.84);
  });

  test('counts what never ended well as later than all, and keeps the order of the quantiles', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(Infinity), fc.double({ min: 0, max: 1e6, noNaN: true })), { maxLength: 300 }),
        (ends) => {
          const times = new SlotTimes(DEFAULT_HINT);
          for (const end of ends) times.score(told(times), end, { waiting: 0, slots: 1 });
          for (const { z10, z50, z90, z99 } of times.quantiles) {
            expect(z10).toBeLessThan(z50);
            expect(z50).toBeLessThan(z90);
            expect(z90).toBeLessThan(z99);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});
