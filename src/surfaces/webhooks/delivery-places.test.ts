import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DeliveryPlaces } from './delivery-places.ts';

const TOTAL = 128;

/** Fills places with what asks, again and again, until nobody gets one more. */
function fill(places: DeliveryPlaces, asking: readonly (readonly [string, string, boolean])[]): Map<string, number> {
  const held = new Map<string, number>();
  for (let isChanged = true; isChanged;) {
    isChanged = false;
    for (const [tenant, target, isFailing] of asking) {
      const room = places.room(tenant, target, isFailing);
      for (let at = 0; at < room; at += 1) places.enter(tenant, target);
      if (room > 0) isChanged = true;
      held.set(`${tenant} ${target}`, (held.get(`${tenant} ${target}`) ?? 0) + room);
    }
  }
  return held;
}

describe('places for deliveries', () => {
  test('one endpoint gets eight, one that fails gets one', () => {
    expect(new DeliveryPlaces(TOTAL).room('a', 'x', false)).toBe(8);
    expect(new DeliveryPlaces(TOTAL).room('a', 'x', true)).toBe(1);
  });

  test('two hundred dead endpoints of one tenant leave another what it would have alone', () => {
    for (const isFailing of [true, false]) {
      const places = new DeliveryPlaces(TOTAL);
      fill(
        places,
        Array.from({ length: 200 }, (_, at) => ['dead', `${at}`, isFailing] as const),
      );
      expect(places.room('other', 'x', false)).toBe(8);
    }
  });

  test('whoever comes after any number of tenants and endpoints that hold all they can finds a place', () => {
    const asking = fc.tuple(fc.nat({ max: 5 }).map(String), fc.nat({ max: 30 }).map(String), fc.boolean());
    fc.assert(
      fc.property(fc.array(asking, { maxLength: 60 }), (all) => {
        const places = new DeliveryPlaces(TOTAL);
        const held = fill(places, all);
        expect(places.free).toBeGreaterThanOrEqual(1);
        expect(places.room('new', 'x', true)).toBe(1);
        // Another endpoint of a tenant whose own hold all they can may have to wait, but its tenant's share
        // is bounded.
        for (const tenant of new Set(all.map(([one]) => one))) {
          const own = [...held].filter(([name]) => name.startsWith(`${tenant} `)).reduce((sum, [, n]) => sum + n, 0);
          expect(own).toBeLessThanOrEqual(TOTAL / 2);
        }
      }),
    );
  });

  test('what is left is free again', () => {
    const places = new DeliveryPlaces(4);
    places.enter('a', 'x');
    places.leave('a', 'x');
    expect([places.free, places.room('a', 'x', true)]).toEqual([4, 1]);
  });
});
