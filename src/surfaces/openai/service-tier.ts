import type { BandName } from '../../proof/contract/bands.ts';

/** What OpenAI's clients call the bands that they may ask for. */
export const TIERS = ['default', 'flex', 'priority'] as const;
export type Tier = (typeof TIERS)[number];

const TIER_OF = { interactive: 'priority', standard: 'default', batch: 'flex' } as const satisfies Record<
  BandName,
  Tier
>;

/** The band that a request's `service_tier` asks for; whatever else stands there asks for none. */
export function bandOfTier(tier: string | null | undefined): { band?: BandName } {
  if (tier === 'priority') return { band: 'interactive' };
  return tier === 'flex' ? { band: 'batch' } : {};
}

/** The tier that serves a job of this band. */
export function tierOf(band: BandName = 'standard'): Tier {
  return TIER_OF[band];
}
