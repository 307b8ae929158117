import { BANDS, type BandName } from '../../proof/contract/bands.ts';

/** The least shares of the workers, in per cent, that bands have while anything waits in them. */
export const BAND_SHARES: Readonly<Record<BandName, number>> = { interactive: 60, standard: 30, batch: 10 };

/** What costs less counts as this. */
const LEAST_COST = 0.001;

/** How far beyond the present each band's next start is, in cost over share. */
export type Leads = Readonly<Record<BandName, number>>;

export const NO_LEADS: Leads = { interactive: 0, standard: 0, batch: 0 };

/** The band that comes next of those that have something; `band-turns.lua` says the same. */
export function nextBand(leads: Leads, waiting: ReadonlySet<BandName>): BandName | undefined {
  const ready = BANDS.filter((band) => waiting.has(band));
  return ready.toSorted((a, b) => leads[a] - leads[b] || BAND_SHARES[b] - BAND_SHARES[a])[0];
}

/** The same after a band was given something of this cost. */
export function afterTurn(leads: Leads, band: BandName, cost: number): Leads {
  const since = (other: BandName) => Math.max(0, leads[other] - leads[band]);
  const others = { interactive: since('interactive'), standard: since('standard'), batch: since('batch') };
  return { ...others, [band]: Math.max(cost, LEAST_COST) / BAND_SHARES[band] };
}

/**
 * What is kept of them until the next release: nothing where no more than one band has anything, and none of
 * the others owes anything.
 */
export function keptLeads(leads: Leads, waiting: ReadonlySet<BandName>): Leads {
  const isOwing = BANDS.some((band) => !waiting.has(band) && leads[band] > 0);
  return waiting.size > 1 || (waiting.size === 1 && isOwing) ? leads : NO_LEADS;
}

/** How often another band comes up for each time that this one does, while both have something. */
export function turnsBeside(band: BandName, other: BandName): number {
  return BAND_SHARES[other] / BAND_SHARES[band];
}

/**
 * How many jobs of other bands are released before one that has so many of its own band before it, by what
 * waits in them: what their shares give them in the meantime, or all that they have. `lanes.lua` says the
 * same.
 */
export function jobsBeside(band: BandName, count: number, waiting: Readonly<Record<BandName, number>>): number {
  if (count <= 0) return 0;
  return BANDS.filter((other) => other !== band).reduce(
    (sum, other) => sum + Math.min(waiting[other], Math.ceil((count * BAND_SHARES[other]) / BAND_SHARES[band])),
    0,
  );
}

/**
 * Where what waits in a band of a queue is kept: the standard one under the queue's own name, and the others
 * under names that no queue can have, which are of letters, digits, hyphens and one dot.
 */
export function laneOf(queue: string, band: BandName): string {
  return band === 'standard' ? queue : `${queue}/${band}`;
}

/** All of a queue. */
export function lanesOf(queue: string): string[] {
  return BANDS.map((band) => laneOf(queue, band));
}
