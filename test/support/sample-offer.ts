import type { Offer } from '../../src/core/forecast/offer.ts';

/** What is expected of a job of 60 ms where one ends every 4 ms. */
export const OFFER: Offer = {
  cost: 60,
  perEndMs: 4,
  perTagMs: 1,
  ownMs: 60,
  sdOwnMs: 20,
  afterMs: 5,
  meanMs: 60,
  sdEndMs: 5,
  coldMs: 0,
  quantiles: [0, 1, 2, 3].map(() => ({ z10: -1, z50: 0, z90: 1.3, z99: 2.5 })),
};
