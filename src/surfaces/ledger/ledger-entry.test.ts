import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LedgerEntry, dayOf, ledgerEntry, monthOf } from './ledger-entry.ts';

const PRICE = {
  table: { id: 'v1', sha256: '0'.repeat(64) },
  currency: 'USD',
  input: 1,
  output: 2,
  second: 3,
  attestation: 4,
  hold: 500,
};

describe('ledger entries', () => {
  test('months and days end at midnight, by UTC', () => {
    const lastMs = Date.parse('2026-12-31T23:59:59.999Z');
    expect([monthOf(lastMs), monthOf(lastMs + 1)]).toEqual(['2026-12', '2027-01']);
    expect([dayOf(lastMs), dayOf(lastMs + 1)]).toEqual(['2026-12-31', '2027-01-01']);
  });

  test('a day always begins with its month, and both sort as time does', () => {
    const time = fc.integer({ min: 0, max: Date.parse('2100-01-01') });
    fc.assert(
      fc.property(time, time, (a, b) => {
        expect(dayOf(a).startsWith(monthOf(a))).toBe(true);
        if (a <= b) expect(dayOf(a) <= dayOf(b)).toBe(true);
      }),
    );
  });

  test.each([
    { amount: -1 },
    { amount: 0.5 },
    { amount: Number.NaN },
    { amount: 2 ** 53 },
    { kind: 'hold' },
    { currency: 'usd' },
    { at: 'today' },
    { more: 1 },
  ])('a stored entry with %j is not read', (change) => {
    const good = ledgerEntry({ kind: 'charge', atMs: 0, amount: 1, key: 'key', model: 'model' }, PRICE);
    expect(LedgerEntry.safeParse(good).success).toBe(true);
    expect(LedgerEntry.safeParse({ ...good, ...change }).success).toBe(false);
  });
});
