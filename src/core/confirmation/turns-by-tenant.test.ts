import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TurnsByTenant } from './turns-by-tenant.ts';

const LONGEST = 20;

describe('turns by tenant', () => {
  test('whoever waits is passed by no other tenant more than once, in whatever order they come and are taken', () => {
    const step = fc.oneof(
      fc.record({ tenant: fc.constantFrom('a', 'b', 'c', 'd'), count: fc.nat(40) }),
      fc.record({ most: fc.nat(12) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const turns = new TurnsByTenant<{ tenant: string; number: number }>(LONGEST);
        const waiting = new Map<string, number[]>();
        /** How often others were taken since a tenant's first one has been the first. */
        const passed = new Map<string, Map<string, number>>();
        let number = 0;
        const takeOne = () => {
          const [one] = turns.take(1);
          if (one === undefined) {
            expect([...waiting.values()].flat()).toEqual([]);
            return;
          }
          expect(waiting.get(one.tenant)?.shift()).toBe(one.number);
          passed.delete(one.tenant);
          for (const [tenant, line] of waiting) {
            if (tenant === one.tenant || line.length === 0) continue;
            const others = passed.get(tenant) ?? new Map<string, number>();
            others.set(one.tenant, (others.get(one.tenant) ?? 0) + 1);
            passed.set(tenant, others);
            expect(others.get(one.tenant)).toBeLessThanOrEqual(1);
          }
        };
        for (const one of steps) {
          if ('most' in one) for (let at = 0; at < one.most; at += 1) takeOne();
          else
            for (let at = 0; at < one.count; at += 1) {
              const line = waiting.get(one.tenant) ?? [];
              waiting.set(one.tenant, line);
              const { tenant } = one;
              expect(turns.add(tenant, { tenant, number })).toBe(line.length < LONGEST);
              if (line.length < LONGEST) line.push(number);
              number += 1;
            }
        }
        while (!turns.isEmpty) takeOne();
        takeOne();
      }),
    );
  });

  test('several that are taken together are those that would be taken one by one', () => {
    const turns = new TurnsByTenant<string>(LONGEST);
    for (const name of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) turns.add(name.slice(0, 1), name);
    expect(turns.take(2)).toEqual(['a1', 'b1']);
    expect(turns.take(9)).toEqual(['c1', 'a2', 'c2', 'a3']);
    expect(turns.isEmpty).toBe(true);
  });
});
