import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { duePlace, type DueQueue } from './due-place.ts';

/** When jobs of flows are due, in ms before the time of the job that is asked about; its own flow first. */
type Due = readonly (readonly number[])[];

const NOTHING = { ahead: 0, distance: 0, ties: 0 };

/** Ten slots and jobs of a second that cost 1: they take 100 ms each together. */
function place(due: Due, { leadMs = 3_600_000, ...more }: Partial<DueQueue> = {}) {
  const inLast = (times: readonly number[], ms: number) =>
    times.filter((before) => before <= (ms < leadMs ? ms : Infinity)).length;
  const flows = due.map((times, at) => ({
    isOwn: at === 0,
    weight: 1,
    charge: 1,
    within: (ms: number) => inLast(times, ms),
  }));
  const figures = {
    slots: 10,
    perEndMs: 100,
    perCostMs: 100,
    now: NOTHING,
    within: (ms: number) => inLast(due.flat(), ms),
  };
  return duePlace({ ...figures, flows, leadMs, ...more });
}

const times = (count: number, everyMs = 0, fromMs = 0) =>
  Array.from({ length: count }, (_, at) => fromMs + at * everyMs);

describe('where a job stands when its time has come', () => {
  test('is behind all of its flow that are due at the same time', () => {
    expect(place([times(1_000)])).toMatchObject({ ends: 991, distance: 1_000, ahead: 1_000 });
  });

  test('is beside those of another flow: of these, one goes first for each of its own, and one more', () => {
    expect(place([[], times(1_000)])).toMatchObject({ ends: 0, distance: 0, ahead: 1, ties: 1 });
    expect(place([times(50), times(1_000)])).toMatchObject({ distance: 50, ahead: 101 });
    expect(place([times(50), times(20)])).toMatchObject({ distance: 50, ahead: 70 });
  });

  test('counts the whole weight of others, and what their jobs cost', () => {
    const heavy = { isOwn: false, weight: 4, charge: 0.5, within: () => 1_000 };
    const own = { isOwn: true, weight: 1, charge: 1, within: () => 50 };
    // Up to a distance of 50 and one more job: 101 jobs of 2 units each beside 50 of one.
    const { ahead, distance } = place([], { flows: [own, heavy], within: () => 1_050 });
    expect(distance).toBe(50);
    expect(ahead).toBeCloseTo(101 * 2 + 50, 6);
  });

  test('takes flows that were not looked at for flows like those that were', () => {
    const flow = (isOwn: boolean, count: number) => ({ isOwn, weight: 1, charge: 1, within: () => count });
    expect(place([], { flows: [flow(true, 0), flow(false, 3)], within: () => 300 }).ahead).toBe(100);
  });

  test('is as if what is due more slowly than it is served were not there', () => {
    const { ahead } = place([times(500, 200), times(500, 250)]);
    expect(ahead).toBeLessThanOrEqual(2);
  });

  test('leaves what was due before and could not be served by then', () => {
    // A thousand were due forty seconds before, and take a hundred; the busy time is found within its half.
    const { ahead, busyMs } = place([times(1_000, 0, 40_000)]);
    expect(busyMs).toBeGreaterThanOrEqual(40_000);
    expect(ahead).toBeGreaterThanOrEqual(400);
    expect(ahead).toBeLessThanOrEqual(600);
  });

  test('leaves of what waits now what is not served meanwhile', () => {
    const now = { ahead: 1_000, distance: 40, ties: 607 };
    expect(place([[]], { now, leadMs: 60_000 })).toMatchObject({ ahead: 400, ends: 391, distance: 16, ties: 7 });
    expect(place([[]], { now, leadMs: 200_000 })).toMatchObject({ ahead: 0, ends: 0, distance: 0, ties: 0 });
    // What becomes due waits behind it.
    expect(place([times(100)], { now, leadMs: 60_000 })).toMatchObject({ ahead: 500, distance: 116 });
  });

  test('is never better for what is due beside it, and never before its own flow is served', () => {
    const due = fc.array(fc.nat(120_000), { maxLength: 40 });
    fc.assert(
      fc.property(due, fc.array(due, { maxLength: 4 }), fc.nat(200), (own, others, ahead) => {
        const now = { ahead, distance: 0, ties: ahead };
        const found = place([own, ...others], { now });
        expect(found.ends).toBeGreaterThanOrEqual(0);
        expect(found.distance).toBeLessThanOrEqual(own.length);
        expect(found.ahead).toBeLessThanOrEqual(own.length + others.flat().length + ahead + 1e-6);
        expect(place([[...own, 0], ...others], { now }).distance).toBeGreaterThanOrEqual(found.distance);
      }),
    );
  });
});
