import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { OFFER } from '../../../test/support/sample-offer.ts';
import { AdmissionRule, excessOf, type Standing } from './admission-limits.ts';
import { offerText, toldIn, toldOf, type Offer } from './offer.ts';
import { endAt } from './told.ts';

const AT_ONCE: Standing = { ends: 0, ahead: 0, distance: 0, ties: 0, backloggedMs: 0 };
const positive = fc.double({ min: 0.01, max: 10_000, noNaN: true });
const offers = fc
  .record({
    perEndMs: positive,
    perTagMs: positive,
    ownMs: positive,
    sdOwnMs: positive,
    afterMs: positive,
    meanMs: positive,
    sdEndMs: positive,
  })
  .map((numbers): Offer => ({ ...OFFER, ...numbers }));

describe('admission', () => {
  test('counts the load of a model that no worker has in memory, in what it tells and in what it takes', () => {
    const cold = { ...OFFER, coldMs: 3_000 };
    const [told, toldCold] = [OFFER, cold].map((offer) => toldOf(offer, AT_ONCE));
    expect(toldCold?.endMs).toBe((told?.endMs ?? 0) + 3_000);
    const limits = (offer: Offer) => new AdmissionRule(0.99).limits(offer, 4_000, 100);
    expect(excessOf(cold, limits(cold), { ...AT_ONCE, ends: 500, distance: 1 })).toBeGreaterThan(0);
    expect(excessOf(OFFER, limits(OFFER), { ...AT_ONCE, ends: 500, distance: 1 })).toBeLessThan(0);
    expect(excessOf({ ...cold, coldMs: 5_000 }, limits({ ...cold, coldMs: 5_000 }), AT_ONCE)).toBeGreaterThan(0);
  });

  test('takes what ends in time with the probability asked for, and nothing that does not', () => {
    fc.assert(
      fc.property(
        offers,
        fc.integer({ min: 0, max: 5_000 }),
        fc.integer({ min: 1_000, max: 600_000 }),
        (offer, ends, timeMs) => {
          const standing = { ...AT_ONCE, ends, ahead: ends, distance: 0.001 };
          const limits = new AdmissionRule(0.99).limits(offer, timeMs, 100);
          const told = toldOf(offer, standing);
          const isAdmitted = excessOf(offer, limits, standing) <= 0;
          if (isAdmitted && ends > 0) expect(endAt(told, 'z99')).toBeLessThanOrEqual(timeMs * 0.9 * 1.001 + 1);
        },
      ),
    );
  });

  test.each([
    ['refuses nobody within its share before enough was confirmed', { ...AT_ONCE, ends: 1e6 }, 3, false],
    ['refuses who cannot end in time, even within its share', { ...AT_ONCE, ends: 2_000 }, 100, true],
    [
      'gives a burst out of silence its whole deadline',
      { ...AT_ONCE, ends: 900, ahead: 900, distance: 300 },
      100,
      false,
    ],
    [
      'caps who has been backlogged for over a second',
      { ...AT_ONCE, ends: 900, ahead: 900, distance: 300, backloggedMs: 1_001 },
      100,
      true,
    ],
    [
      'caps none of the first two of a flow, which can have come together by chance',
      { ...AT_ONCE, ends: 900, ahead: 900, distance: 2 * OFFER.cost, backloggedMs: 1_001 },
      100,
      false,
    ],
    [
      'takes no account of what was given to workers for the cap',
      { ...AT_ONCE, ends: 900, ahead: 2, distance: 30, backloggedMs: 2_000 },
      100,
      false,
    ],
    [
      'caps who has its share already where others wait for theirs',
      { ...AT_ONCE, ends: 900, ahead: 900, distance: 300, ties: 400 },
      100,
      true,
    ],
  ])('%s', (_, standing, count, isRefused) => {
    const limits = new AdmissionRule(0.99).limits(OFFER, 5_000, count);
    expect(excessOf(OFFER, limits, standing) > 0).toBe(isRefused);
  });

  test('lets patient work wait for as long as it takes', () => {
    const limits = new AdmissionRule(0.99).limits(OFFER, 3_600_000, 100);
    const standing = { ...AT_ONCE, ends: 100_000, ahead: 100_000, distance: 1_000, backloggedMs: 60_000 };
    expect(excessOf(OFFER, limits, standing)).toBeLessThanOrEqual(0);
  });

  test('asks less of a job where less is asked for', () => {
    const sure = new AdmissionRule(0.99).limits(OFFER, 5_000, 100);
    const less = new AdmissionRule(0.9).limits(OFFER, 5_000, 100);
    expect(less.beyondMs).toBeGreaterThan(sure.beyondMs);
  });

  test('judges a long job and a short one at the same place alike', () => {
    const rule = new AdmissionRule(0.99);
    for (let at = 0; at < 500; at += 1) rule.limits({ ...OFFER, ownMs: at % 10 === 0 ? 800 : 30 }, 5_000, 100);
    const long = rule.limits({ ...OFFER, ownMs: 800 }, 5_000, 100);
    const short = rule.limits({ ...OFFER, ownMs: 30 }, 5_000, 100);
    expect(short.beyondMs - long.beyondMs).toBeLessThan(200);
  });
});

test('what was told is read from what was kept with the job', () => {
  fc.assert(
    fc.property(offers, fc.nat(100_000), positive, (offer, ends, distance) => {
      const read = toldIn(`${offerText(offer)} ${ends} ${distance}`);
      const told = toldOf(offer, { ends, distance });
      expect((read?.told.endMs ?? NaN) / told.endMs).toBeCloseTo(1, 3);
      expect((read?.told.sdMs ?? NaN) / told.sdMs).toBeCloseTo(1, 2);
      expect((read?.cost ?? NaN) / offer.cost).toBeCloseTo(1, 3);
    }),
  );
  for (const text of ['', 'x', '1 2 3', `${offerText(OFFER)} 1`, `${offerText(OFFER)} 1 x`])
    expect(toldIn(text)).toBeUndefined();
});
