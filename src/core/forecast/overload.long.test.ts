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

test('the slowest of a hundred admitted jobs wait at most one and a half times as long as at 0.9 load', () => {
  const p99 = (load: number) =>
    mean(SEEDS.map((seed) => new SimulatedPool({ tenants: overload(load), seed }).run().p99Ms));
  expect(p99(10)).toBeLessThanOrEqual(1.5 * p99(0.9));
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
