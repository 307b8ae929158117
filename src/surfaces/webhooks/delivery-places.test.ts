import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DeliveryPlaces, type Asking, type DeliveryPlace } from './delivery-places.ts';

const TOTAL = 128;

const nameOf = ({ tenant, target }: Asking) => `${tenant} ${target}`;
const asking = (tenant: string, target: string, isFailing = false): Asking => ({ tenant, target, isFailing });

/** Fills places with what asks, again and again, until nobody gets one more. */
function fill(places: DeliveryPlaces, all: readonly Asking[]): Map<Asking, DeliveryPlace[]> {
  const held = new Map<Asking, DeliveryPlace[]>();
  for (let isChanged = true; isChanged;) {
    isChanged = false;
    for (const [one, given] of places.share(all)) {
      if (given.length > 0) isChanged = true;
      held.set(one, [...(held.get(one) ?? []), ...given]);
    }
  }
  return held;
}

describe('places for deliveries', () => {
  test('one endpoint gets eight, one that fails gets one', () => {
    expect(new DeliveryPlaces(TOTAL).room(asking('a', 'x'))).toBe(8);
    expect(new DeliveryPlaces(TOTAL).room(asking('a', 'x', true))).toBe(1);
  });

  test('two hundred dead endpoints of one tenant leave another what it would have alone', () => {
    for (const isFailing of [true, false]) {
      const places = new DeliveryPlaces(TOTAL);
      fill(
        places,
        Array.from({ length: 200 }, (_, at) => asking('dead', `${at}`, isFailing)),
      );
      expect(places.room(asking('other', 'x'))).toBe(8);
    }
  });

  test('a hundred tenants who ask at once get one place each before anybody gets two', () => {
    const all = Array.from({ length: 100 }, (_, at) => asking(`${at}`, 'x'));
    const shares = [...new DeliveryPlaces(TOTAL).share(all).values()].map(({ length }) => length);
    expect(shares).toHaveLength(100);
    expect([Math.min(...shares), Math.max(...shares)]).toEqual([1, 2]);
  });

  test('no tenant gets more than half, whoever asks, and who gets nothing is told apart from who has enough', () => {
    const drawn = fc
      .tuple(fc.nat({ max: 200 }), fc.nat({ max: 30 }), fc.boolean())
      .map(([tenant, target, isFailing]) => asking(`${tenant}`, `${target}`, isFailing));
    fc.assert(
      fc.property(fc.uniqueArray(drawn, { maxLength: 300, selector: nameOf }), (all) => {
        const places = new DeliveryPlaces(TOTAL);
        const held = fill(places, all);
        const given = [...held.values()].reduce((sum, { length }) => sum + length, 0);
        expect(places.free).toBe(TOTAL - given);
        for (const tenant of new Set(all.map((one) => one.tenant))) {
          const own = [...held].reduce((sum, [one, { length }]) => sum + (one.tenant === tenant ? length : 0), 0);
          expect(own).toBeLessThanOrEqual(TOTAL / 2);
        }
        for (const one of all) expect(held.has(one) || places.free === 0).toBe(true);
        // All are slow, and have stepped aside: who comes next has all that it would have alone.
        for (const place of [...held.values()].flat()) place.stepAside();
        expect([places.free, places.room(asking('new', 'x'))]).toEqual([TOTAL, 8]);
      }),
    );
  });

  test('what is left is free again', () => {
    const places = new DeliveryPlaces(8);
    const one = asking('a', 'x');
    const [first, second] = places.share([one]).get(one) ?? [];
    first?.leave();
    second?.stepAside();
    expect([places.free, places.room(one)]).toEqual([8, 1]);
    second?.leave();
    expect([places.free, places.room(one)]).toEqual([8, 2]);
  });

  // Each of them answers after 15 s, steps aside after one, and has always more to send, to five endpoints.
  test.each([8, 20, 100])('%i slow tenants leave a newcomer waiting for a second at most', (tenants) => {
    const places = new DeliveryPlaces(TOTAL);
    const second = 10;
    const all = Array.from({ length: tenants * 5 }, (_, at) => asking(`${at % tenants}`, `${at}`));
    const underWay = new Map<DeliveryPlace, number>();
    let [waited, longest] = [0, 0];
    for (let now = 0; now < 40 * second; now += 1) {
      for (const [place, since] of underWay) {
        if (now - since === second) place.stepAside();
        if (now - since < 15 * second) continue;
        place.leave();
        underWay.delete(place);
      }
      for (const place of [...places.share(all).values()].flat()) underWay.set(place, now);
      waited = places.room(asking('new', 'x')) === 0 ? waited + 1 : 0;
      longest = Math.max(longest, waited);
    }
    expect(longest).toBeLessThanOrEqual(second);
    // The slow ones are held up by nobody but themselves.
    expect(underWay.size).toBeGreaterThan(TOTAL);
  });
});
