import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { BANDS, type BandName } from '../../proof/contract/bands.ts';
import { BAND_SHARES, NO_LEADS, afterTurn, jobsBeside, keptLeads, laneOf, nextBand, type Leads } from './bands.ts';

const DEAREST = 50;
const ALL = 100;

/** What a band is given at least of so much, while it has something throughout. */
function leastOf(band: BandName, all: number): number {
  const share = BAND_SHARES[band];
  return (share / ALL) * (all - ((ALL - share) * DEAREST) / share - 2 * DEAREST);
}

test('shares come to the whole', () => {
  expect(BANDS.reduce((sum, band) => sum + BAND_SHARES[band], 0)).toBe(ALL);
});

test('a band that has something gets its least share of any stretch, whatever the others have and cost', () => {
  const turn = fc.record({
    // The band in question always has something; these have as well.
    others: fc.subarray([...BANDS]),
    cost: fc.double({ min: 0, max: DEAREST, noNaN: true }),
    isRelease: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.constantFrom(...BANDS), fc.array(turn, { maxLength: 300 }), (steady, turns) => {
      let leads: Leads = NO_LEADS;
      // Of each beginning: what all were given since, and what the band was.
      const since: { all: number; own: number }[] = [];
      for (const { others, cost, isRelease } of turns) {
        const waiting = new Set([steady, ...others]);
        const band = nextBand(leads, waiting);
        if (band === undefined) throw new Error('nothing comes next');
        expect(waiting.has(band)).toBe(true);
        leads = afterTurn(leads, band, cost);
        if (isRelease) leads = keptLeads(leads, waiting);
        since.push({ all: 0, own: 0 });
        for (const stretch of since) {
          stretch.all += cost;
          if (band === steady) stretch.own += cost;
          expect(stretch.own).toBeGreaterThanOrEqual(leastOf(steady, stretch.all) - 0.01 * turns.length);
        }
      }
    }),
  );
});

test('alone, a band gets everything, and saves nothing up against who comes later', () => {
  let leads: Leads = NO_LEADS;
  for (let turn = 0; turn < 1_000; turn += 1) leads = afterTurn(leads, 'standard', 1);
  const all = new Set(BANDS);
  const given = { interactive: 0, standard: 0, batch: 0 };
  for (let turn = 0; turn < 100; turn += 1) {
    const band = nextBand(leads, all) ?? 'standard';
    given[band] += 1;
    leads = afterTurn(leads, band, 1);
  }
  for (const band of BANDS) expect(Math.abs(given[band] - BAND_SHARES[band])).toBeLessThanOrEqual(2);
});

test('before a job come of other bands what their shares give them, or what they have', () => {
  const waiting = { interactive: 5, standard: 0, batch: 1_000 };
  expect(jobsBeside('standard', 0, waiting)).toBe(0);
  expect(jobsBeside('standard', 1, waiting)).toBe(2 + 1);
  expect(jobsBeside('standard', 300, waiting)).toBe(5 + 100);
  expect(jobsBeside('batch', 300, waiting)).toBe(5);
});

test('no lane has the name of a queue, whose pool and model are of letters, digits and hyphens', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/);
  fc.assert(
    fc.property(name, name, fc.constantFrom('interactive' as const, 'batch' as const), (pool, model, band) => {
      expect(laneOf(`${pool}.${model}`, band)).not.toMatch(/^[a-z0-9-]+\.[a-z0-9-]+$/);
      expect(laneOf(`${pool}.${model}`, 'standard')).toBe(`${pool}.${model}`);
    }),
  );
});
