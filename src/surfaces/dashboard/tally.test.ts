import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  BUCKETS_MS,
  RESOLUTIONS,
  Sums,
  addedBy,
  historyOf,
  periodsOf,
  quantile,
  refusal,
  type EndOfJob,
  type Span,
  type TallyUpdate,
} from './tally.ts';

const NOW = Date.UTC(2026, 10, 26, 14, 3, 41);
const SPANS: readonly Span[] = ['hour', 'day', 'week'];

/** A Redis of these hashes. */
class Hashes {
  readonly #hashes = new Map<string, Map<string, number>>();

  write(updates: readonly TallyUpdate[] | undefined): void {
    for (const { period, fields } of updates ?? []) {
      const hash = this.#hashes.get(period) ?? new Map<string, number>();
      this.#hashes.set(period, hash);
      for (const [field, by] of fields) hash.set(field, (hash.get(field) ?? 0) + by);
    }
  }

  read(period: string): Record<string, string> {
    return Object.fromEntries([...(this.#hashes.get(period) ?? [])].map(([field, sum]) => [field, String(sum)]));
  }

  get most(): number {
    return Math.max(0, ...[...this.#hashes.values()].map(({ size }) => size));
  }
}

const aJob = fc.record({
  model: fc.constantFrom('kjv-1m', 'use-lite'),
  state: fc.constantFrom('done', 'rejected', 'failed', 'expired', 'cancelled'),
  closings: fc.array(fc.constantFrom('refuted', 'released', 'lost', 'void', 'voted'), { maxLength: 3 }),
  waitMs: fc.nat({ max: 100_000 }),
  runMs: fc.nat({ max: 100_000 }),
  confirmMs: fc.nat({ max: 10_000 }),
});

function historyAt(nowMs: number, hashes: Hashes, span: Span) {
  return historyOf(
    span,
    nowMs,
    periodsOf(span, nowMs).map((period) => hashes.read(period)),
  );
}

describe('a tally', () => {
  test('holds every job of the span and no other, in the slot in which it ended', () => {
    const times = fc.array(fc.tuple(aJob, fc.integer({ min: NOW - 9 * 86_400_000, max: NOW })), { maxLength: 30 });
    fc.assert(
      fc.property(times, (jobs) => {
        const hashes = new Hashes();
        for (const [job, atMs] of jobs) {
          const sums = new Sums();
          sums.add(addedBy(job));
          hashes.write(sums.take(atMs));
        }
        for (const span of SPANS) {
          const { points, slotMs, phases } = historyAt(NOW, hashes, span);
          expect(points).toHaveLength(RESOLUTIONS[span].shownMs / slotMs);
          const begin = points[0]?.atMs ?? 0;
          const end = (points.at(-1)?.atMs ?? 0) + slotMs;
          expect(NOW).toBeLessThan(end);
          const within = jobs.filter(([, atMs]) => atMs >= begin && atMs < end);
          for (const point of points) {
            const here = within.filter(([, atMs]) => Math.floor((atMs - point.atMs) / slotMs) === 0);
            expect(point.done).toBe(here.filter(([{ state }]) => state === 'done').length);
            expect(point.refuted).toBe(
              here.flatMap(([{ closings }]) => closings.filter((why) => why === 'refuted')).length,
            );
          }
          expect(phases.reduce((sum, { jobs: of }) => sum + of, 0)).toBe(within.length);
        }
      }),
    );
  });

  test('names no more models and codes than its bound, whatever is counted', () => {
    const sums = new Sums();
    const hashes = new Hashes();
    for (let at = 0; at < 500; at += 1) {
      const job: EndOfJob = {
        model: `m${at}`,
        state: 'done',
        closings: [],
        waitMs: 2 ** (at % 30),
        runMs: 1,
        confirmMs: 1,
      };
      sums.add([...addedBy(job), refusal(`c${at}`)]);
    }
    hashes.write(sums.take(NOW));
    expect(hashes.most).toBeLessThanOrEqual(300);
    const { phases, refusals } = historyAt(NOW, hashes, 'hour');
    expect([phases[0], refusals[0]]).toMatchObject([
      { model: 'other', jobs: 468 },
      { code: 'other', count: 436 },
    ]);
    expect(sums.take(NOW)).toBeUndefined();
  });

  test('reads at most two hashes for any span at any time', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), fc.constantFrom(...SPANS), (nowMs, span) => {
        expect(periodsOf(span, nowMs).length).toBeLessThanOrEqual(2);
      }),
    );
  });

  test('is not spoilt by fields that it does not know', () => {
    const [period = ''] = periodsOf('hour', NOW).slice(-1);
    const strange = { '': '1', '3:done': 'many', 'x:done': '5', '3:m::n': '1', '-1:done': '7', '3:accepted': '2' };
    const hashes = periodsOf('hour', NOW).map((one) => (one === period ? strange : {}));
    const { points } = historyOf('hour', NOW, hashes);
    expect(points.reduce((sum, { accepted, done }) => sum + accepted + done, 0)).toBe(2);
  });
});

test('a quantile lies within the bucket that holds it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 200_000 }), { minLength: 1 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (times, share) => {
        const buckets = [...BUCKETS_MS, Infinity].map(
          (bound, at) => times.filter((ms) => ms <= bound && ms > (BUCKETS_MS[at - 1] ?? -1)).length,
        );
        const sorted = times.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(0, Math.ceil(share * times.length) - 1)] ?? 0;
        const at = BUCKETS_MS.findIndex((bound) => exact <= bound);
        const found = quantile(buckets, share) ?? -1;
        expect(found).toBeGreaterThanOrEqual(BUCKETS_MS[(at === -1 ? BUCKETS_MS.length : at) - 1] ?? 0);
        expect(found).toBeLessThanOrEqual(BUCKETS_MS[at] ?? BUCKETS_MS.at(-1) ?? 0);
      },
    ),
  );
  expect(quantile([0, 0], 0.5)).toBeUndefined();
});
