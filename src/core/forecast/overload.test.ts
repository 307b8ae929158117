import { describe, expect, test } from '@jest/globals';
import { SimulatedPool, type Outcome } from '../../../test/support/simulated-pool.ts';
import { overload, seldom } from '../../../test/support/simulated-tenants.ts';
import { wholeTest } from '../../../test/support/thorough.ts';

/** What holds however much is offered: hardly a slot's time is lost, nobody innocent pays for it. */
function expectKept(outcome: Outcome, missed = 0.01): void {
  expect(outcome.goodput).toBeGreaterThanOrEqual(0.95);
  expect(outcome.missed).toBeLessThanOrEqual(missed * outcome.admitted);
  expect(outcome.innocentOffered).toBeGreaterThan(0);
  expect(outcome.innocentRefused).toBe(0);
}

describe('16 slots, four tenants of weights 1, 1, 2 and 4, and a steady one', () => {
  wholeTest(
    'are offered ten times what they can do: they do all they can, shared by weight, and keep what they told',
    () => {
      const outcome = new SimulatedPool({ tenants: overload(10), seed: 1, warmMs: 6_000, forMs: 18_000 }).run();
      expectKept(outcome);
      expect(outcome.jain).toBeGreaterThanOrEqual(0.98);
      // As the metric tells it while the flood goes on.
      expect(outcome.liveJain).toBeGreaterThanOrEqual(0.95);
      expect(outcome.covered).toBeGreaterThanOrEqual(0.75);
      expect(outcome.covered).toBeLessThanOrEqual(0.85);
      // A queue that is admitted by deadlines alone is as long as they are.
      expect(outcome.p99Ms).toBeLessThan(900);
      // What was released already is told apart from what waits, and a wait is told as it comes.
      expect(outcome.waitError).toBeLessThanOrEqual(0.2);
      // Judged by its place and not by its length, a long job is admitted as often as a short one.
      expect(outcome.largeOverSmall).toBeGreaterThan(0.8);
      expect(outcome.largeOverSmall).toBeLessThan(1.25);
    },
  );

  test('are offered half of it: nobody is refused, and nobody is told to be served less than others', () => {
    const outcome = new SimulatedPool({ tenants: overload(0.5), seed: 2, warmMs: 5_000, forMs: 25_000 }).run();
    expect(outcome.refused).toBe(0);
    expect(outcome.missed).toBe(0);
    expect(outcome.liveJain).toBeUndefined();
  });

  wholeTest('without admission, the same flood leaves hardly an answer in time', () => {
    const outcome = new SimulatedPool({
      tenants: overload(10),
      seed: 1,
      warmMs: 10_000,
      forMs: 14_000,
      admitAll: true,
    }).run();
    expect(outcome.goodput).toBeLessThan(0.5);
  });

  test('begin with a hint that is five times too large, and miss no more than one in a hundred', () => {
    const outcome = new SimulatedPool({
      tenants: overload(10),
      seed: 3,
      warmMs: 0,
      forMs: 15_000,
      hintFactor: 5,
    }).run();
    expectKept(outcome);
  });

  test('become half as fast: what is learned follows', () => {
    const outcome = new SimulatedPool({
      tenants: overload(2),
      seed: 5,
      warmMs: 6_000,
      forMs: 24_000,
      slower: { fromMs: 10_000, toMs: 18_000, factor: 2 },
    }).run();
    expectKept(outcome);
  });

  test('do nothing for 30 ms after each job, which no job shows: waits are told as they come all the same', () => {
    const outcome = new SimulatedPool({
      tenants: overload(2),
      seed: 4,
      warmMs: 8_000,
      forMs: 20_000,
      handOverMs: 30,
    }).run();
    expect(outcome.missed).toBeLessThanOrEqual(0.01 * outcome.admitted);
    expect(outcome.innocentRefused).toBe(0);
    expect(outcome.waitError).toBeLessThanOrEqual(0.2);
  });

  test('tell callers when to come back, and most who obey are admitted then', () => {
    const obedient = overload(3).map((tenant) => ({ ...tenant, obeys: true }));
    const outcome = new SimulatedPool({ tenants: obedient, seed: 6, warmMs: 6_000, forMs: 18_000 }).run();
    expectKept(outcome);
    expect(outcome.attempts).toBeLessThan(2.5 * outcome.uniques);
  });

  test('are shared by hundreds who each send a job now and then: who comes later is foreseen all the same', () => {
    const tenants = seldom(300, { load: 1.4, timesLonger: 200, deadlineMs: 600_000 });
    const outcome = new SimulatedPool({
      tenants,
      seed: 2,
      timesLonger: 200,
      readEveryMs: 2_000,
      warmMs: 300_000,
      forMs: 2_400_000,
    }).run();
    expect(outcome.goodput).toBeGreaterThanOrEqual(0.95);
    expect(outcome.missed).toBeLessThanOrEqual(0.01 * outcome.admitted);
    expect(outcome.covered).toBeGreaterThanOrEqual(0.7);
  });
});
