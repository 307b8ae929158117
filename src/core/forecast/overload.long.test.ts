import { expect, test } from '@jest/globals';
import { SimulatedPool } from '../../../test/support/simulated-pool.ts';
import { crowd, overload } from '../../../test/support/simulated-tenants.ts';

const SEEDS = [1, 2, 3];
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

test.each([2, 5, 10])('a minute of %d times what 16 slots can do', (load) => {
  const outcomes = SEEDS.map((seed) => new SimulatedPool({ tenants: overload(load), seed }).run());
  for (const outcome of outcomes) {
    expect(outcome.goodput).toBeGreaterThanOrEqual(0.95);
    expect(outcome.missed).toBeLessThanOrEqual(0.01 * outcome.admitted);
    expect(outcome.innocentRefused).toBe(0);
    expect(outcome.jain).toBeGreaterThanOrEqual(0.98);
  }
  expect(Math.abs(mean(outcomes.map(({ covered }) => covered)) - 0.8)).toBeLessThanOrEqual(0.05);
});

/** Of jobs that take so many times longer, offered so many times what the slots can do. */
const p99 = (timesLonger: number, load: number) => {
  const tenants = overload(load, 20_000).map((tenant) => ({ ...tenant, rate: tenant.rate / timesLonger }));
  const times = { timesLonger, warmMs: 30_000, forMs: 120_000 };
  return mean(SEEDS.map((seed) => new SimulatedPool({ tenants, seed, ...times }).run().p99Ms));
};

// What is released in a moment is four jobs for each slot where they are so short, and no share of anybody's.
test.each([
  ['1.8 times', 1.8, 'of 400 ms', 6],
  ['2.1 times', 2.1, 'of 60 ms', 1],
])('the slowest of a hundred admitted jobs take at most %s as long as at 0.9 load: %d, %s', (_, most, __, longer) => {
  const before = p99(longer, 0.9);
  for (const load of [2, 10]) expect(p99(longer, load)).toBeLessThanOrEqual(most * before);
});

test.each([0.2, 5])('a hint that is %d times what is true costs at most one job in a hundred', (hintFactor) => {
  for (const seed of SEEDS) {
    const outcome = new SimulatedPool({ tenants: overload(10), seed, warmMs: 0, forMs: 30_000, hintFactor }).run();
    expect(outcome.missed).toBeLessThanOrEqual(0.01 * outcome.admitted);
    expect(outcome.innocentRefused).toBe(0);
  }
});

test('a crowd of 50 new tenants for ten seconds: what they are told holds for two thirds of them', () => {
  const outcomes = SEEDS.map((seed) =>
    new SimulatedPool({ tenants: [...overload(0.5), ...crowd(20_000, 30_000)], seed, forMs: 50_000 }).run(),
  );
  for (const outcome of outcomes) {
    expect(outcome.missed).toBeLessThanOrEqual(0.01 * outcome.admitted);
    expect(outcome.innocentRefused).toBe(0);
  }
  expect(mean(outcomes.map(({ covered }) => covered))).toBeGreaterThanOrEqual(0.65);
});
