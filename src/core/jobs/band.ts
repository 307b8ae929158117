import { BANDS, type BandName } from '../../proof/contract/bands.ts';

/** The band in the hash of a job, which says nothing where it is the standard one, or older than bands. */
export function bandIn(kept: string | undefined): BandName {
  return BANDS.find((band) => band === kept) ?? 'standard';
}
