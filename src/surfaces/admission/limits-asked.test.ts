import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BUDGETS, Limits } from '../tenants/limits.ts';
import { limitsAsked } from './limits-asked.ts';

const PRICE = {
  table: { id: 'v1', sha256: '0'.repeat(64) },
  currency: 'EUR',
  input: 1,
  output: 1,
  second: 1,
  attestation: 0,
  hold: 0,
};
/** Below the end of what can be counted exactly, which every tenant has as a limit. */
const whole = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 });
const limits = fc.record(
  {
    requests_per_minute: fc.integer({ min: 1, max: 1_000_000 }),
    tokens_per_minute: fc.integer({ min: 1, max: 1_000_000_000 }),
    concurrent_jobs: fc.integer({ min: 1, max: 1_000_000 }),
    ...Object.fromEntries(BUDGETS.map(({ name }) => [name, whole])),
  },
  { requiredKeys: [] },
);
const job = fc.record({
  price: fc.option(
    fc.integer({ min: 0, max: 1_000_000_000_000_000 }).map((hold) => ({ ...PRICE, hold })),
    { nil: undefined },
  ),
  inputBytes: fc.integer({ min: 0, max: 4_194_304 }),
  outputTokens: fc.integer({ min: 0, max: 131_072 }),
});

test('what is held for a request is the sum of the reserves of its jobs, and each limit is asked for all of them', () => {
  fc.assert(
    fc.property(
      limits,
      limits,
      fc.array(job, { minLength: 1, maxLength: 8 }),
      fc.boolean(),
      (tenant, key, jobs, isBackground) => {
        const who = { keyId: 'k', limits: { tenant: Limits.parse(tenant), key: Limits.parse(key) } };
        const { ask, reserves } = limitsAsked(who, jobs, isBackground);
        expect(reserves).toHaveLength(jobs.length);
        if (ask === undefined) {
          expect(new Set(reserves)).toEqual(new Set(['']));
          return;
        }
        const parts = reserves.map((text) => /^(\S+) (\S+) (\d+) (\d+) (\d+) (\d+|-) (\d+) (\d+)$/.exec(text) ?? []);
        const sumOf = (at: number) => parts.reduce((sum, cells) => sum + Number(cells[at]), 0);
        const held = Object.fromEntries(ask.holds);
        expect(parts.map((cells) => cells.length)).toEqual(jobs.map(() => 9));
        expect([held['EUR'] ?? 0, held['tokens'] ?? 0, held['jobs'] ?? 0]).toEqual([sumOf(3), sumOf(4), sumOf(5)]);
        for (const { unit, amount, most, kept } of ask.caps) {
          expect(amount).toBe(unit === 'requests' ? 1 : unit === 'jobs' ? jobs.length : held[unit]);
          // What people are left never refuses what fits into the whole limit.
          if (amount <= most) expect(amount).toBeLessThanOrEqual(most - kept);
        }
        for (const { amount, quota, kept } of ask.rates)
          if (amount <= quota) expect(amount).toBeLessThanOrEqual(quota - kept);
      },
    ),
  );
});

test('of each limit that is set for what a request uses there is one question, of tenant and key alike', () => {
  fc.assert(
    fc.property(limits, limits, (tenant, key) => {
      const who = { keyId: 'k', limits: { tenant: Limits.parse(tenant), key: Limits.parse(key) } };
      const { ask } = limitsAsked(who, [{ price: { ...PRICE, hold: 5 }, inputBytes: 1, outputTokens: 1 }], true);
      const asked = (of: string) =>
        [...(ask?.caps ?? []), ...(ask?.rates ?? [])].filter(
          (one) => one.of === of && !('most' in one && one.most === Number.MAX_SAFE_INTEGER),
        ).length;
      expect(asked('tenant')).toBe(Object.keys(tenant).length);
      expect(asked('key')).toBe(Object.keys(key).length);
    }),
  );
});
