import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fairestIndex } from './fairest.ts';

const waiting = (...tenants: string[]) => tenants.map((tenant) => ({ tenant }));

describe('the batch that begins next', () => {
  test('is the oldest of the tenant that has the fewest running', () => {
    expect(fairestIndex(waiting('a', 'b', 'b'), ['a'])).toBe(1);
    expect(fairestIndex(waiting('a', 'b'), [])).toBe(0);
    expect(fairestIndex(waiting('a'), ['a', 'a'])).toBe(0);
    expect(fairestIndex([], ['a'])).toBe(-1);
  });

  // One tenant creates a thousand batches before another creates one.
  test('lets no tenant that waits have two fewer running than another got meanwhile', () => {
    const tenant = fc.constantFrom('a', 'b', 'c');
    fc.assert(
      fc.property(fc.array(tenant, { maxLength: 30 }), fc.nat({ max: 10 }), (tenants, places) => {
        const candidates = waiting(...tenants);
        const running: string[] = [];
        while (running.length < places && candidates.length > 0)
          running.push(...candidates.splice(fairestIndex(candidates, running), 1).map((one) => one.tenant));
        const count = (name: string) => running.filter((one) => one === name).length;
        for (const { tenant: waits } of candidates)
          for (const other of running) expect(count(other) - count(waits)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
