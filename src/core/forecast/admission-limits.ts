import { UNSURE, quantilesOf, startOf, type Offer, type Place } from './offer.ts';
import { longestOf, type Quantiles } from './told.ts';

/** A tenth of the time is kept in reserve. */
const RESERVE = 0.9;
/** A flow that was backlogged without a break for longer may wait this many mean services and no more. */
const GRACE_MS = 1_000;
const GRACE_SERVICES = 10;
const MOST_SERVICES = 5;
/** So many jobs like it that its flow has waiting may have come together by chance. */
const FEW = 2;
/** Jobs with more time than this may wait for as long as it takes. */
const PATIENT_MS = 60_000;
/** Before so many were confirmed, a guess refuses nobody who is within its share. */
const ENOUGH = 8;
/** No job's own time is taken for more than this share of what it has. */
const MOST_OWN = 0.5;

/** No limit, as a number that scripts can compare. */
const UNLIMITED_MS = 1e15;

/** What a job's start may be at most, so that it is admitted. Times in ms from now. */
export interface AdmissionLimits {
  /** Of a flow that has nothing waiting beyond its share. */
  readonly withinMs: number;
  /** Of any other flow. */
  readonly beyondMs: number;
  /** Of any other flow that has been backlogged for longer than the grace, or while there is a crowd. */
  readonly cappedMs: number;
  /** There is a crowd where even those within their share wait longer. */
  readonly crowdMs: number;
  readonly graceMs: number;
  /** Where it stands no further beyond its share than this (in tags), no wait is capped. */
  readonly fewDistance: number;
}

/**
 * For how long (ms) a flow may go on wanting more than its share before its wait is capped, and how long it
 * must not, so that it counts as a break. `fair-place.lua` has the same.
 */
export function graceOf(meanMs: number): number {
  return Math.max(GRACE_MS, GRACE_SERVICES * meanMs);
}

/** What was found of a job and its flow at the moment of its admission. */
export interface Standing extends Place {
  /** Jobs of the backlog that stand at the present: those of flows within their share. */
  readonly ties: number;
  /** Jobs of the backlog that go before it; what was given to workers already is beyond anybody's share. */
  readonly ahead: number;
  /** For how long its flow has had something waiting beyond its share (ms). */
  readonly backloggedMs: number;
}

/**
 * What limits the admissions of one queue. A job is judged by its place, which is the same for all sizes, and
 * not by its own length, or each gap would go to the shortest: `own` is what nearly all jobs take and never
 * less.
 */
export class AdmissionRule {
  /** How sure it must be that a job ends in time, 0.9 to 0.99. */
  readonly #probability: number;
  /** What 95 of 100 jobs take at most beyond their wait (ms). */
  #own = 0;

  constructor(probability: number) {
    this.#probability = probability;
  }

  /**
   * The limits of a job of a flow of this weight that has so long (ms). `count` is how many jobs its offer
   * was learned from.
   */
  limits(offer: Offer, timeMs: number, count: number, weight = 1): AdmissionLimits {
    const own = offer.ownMs + offer.afterMs + this.#quantile(quantilesOf(offer, 0)) * offer.sdOwnMs;
    this.#own = this.#own === 0 ? own : this.#own * (1 + 0.02 * (own > this.#own ? 0.95 : -0.05));
    const even = Math.max(own, Math.min(this.#own, MOST_OWN * timeMs));
    const capMs = MOST_SERVICES * offer.meanMs;
    const sure = (quantiles: Readonly<Quantiles>) => this.#quantile(quantiles);
    const { coldMs } = offer;
    const beyondMs = longestStart(offer, RESERVE * timeMs - coldMs - even, sure);
    return {
      withinMs:
        count < ENOUGH
          ? UNLIMITED_MS
          : Math.max(
              longestStart(offer, RESERVE * timeMs - coldMs - own, sure),
              longestStart(offer, timeMs - coldMs - offer.ownMs - offer.afterMs, ({ z50 }) => z50),
            ),
      beyondMs,
      cappedMs: timeMs > PATIENT_MS ? beyondMs : Math.min(beyondMs, longestStart(offer, capMs, sure)),
      crowdMs: capMs,
      graceMs: graceOf(offer.meanMs),
      fewDistance: (FEW * offer.cost) / weight,
    };
  }

  /** Between the learned quantiles of 90 and 99 of 100, by the logarithm of what is left out. */
  #quantile({ z90, z99 }: Readonly<Quantiles>): number {
    return z90 + (z99 - z90) * (-Math.log10(1 - this.#probability) - 1);
  }
}

/**
 * By how much (ms) the start of a job with this standing is too late; 0 or less where it is admitted.
 * `admit.lua` decides the same. Of a job that is not to begin before a time, it is where it stands then.
 */
export function excessOf(offer: Offer, limits: AdmissionLimits, standing: Standing): number {
  const { distance, ties, backloggedMs, ahead } = standing;
  const startMs = startOf(offer, standing);
  if (distance <= 0) return startMs - limits.withinMs;
  const isCapped =
    distance > limits.fewDistance && (backloggedMs > limits.graceMs || ties * offer.perEndMs > limits.crowdMs);
  const beyond = startMs - limits.beyondMs;
  return isCapped ? Math.max(beyond, startOf(offer, { ends: ahead, distance }) - limits.cappedMs) : beyond;
}

/**
 * The latest start (ms) that is over within `limitMs` with what it may be off; below 0 where none is. Each
 * class of waits has quantiles of its own: the search ends in the first class in which a start is too late.
 */
function longestStart(offer: Offer, limitMs: number, sure: (quantiles: Readonly<Quantiles>) => number): number {
  if (limitMs < 0) return -1;
  let from = 0;
  for (const at of [0, 1, 2, 3] as const) {
    const latest = latestWithin(offer, limitMs, sure(quantilesOf(offer, from)));
    const end = longestOf(at, offer.meanMs);
    if (latest < end) return Math.max(from, latest);
    from = end;
  }
  return from;
}

/** The start at which it and so many standard deviations of it come to `limitMs`: a root of a square. */
function latestWithin({ sdEndMs, perEndMs }: Offer, limitMs: number, deviations: number): number {
  const perMs = (deviations * sdEndMs) ** 2 / perEndMs;
  const linear = 2 * limitMs + perMs;
  const square = Math.max(0.01, 1 - (deviations * UNSURE) ** 2);
  const root = Math.sqrt(Math.max(0, linear ** 2 - 4 * square * limitMs ** 2));
  return (linear - Math.sign(deviations) * root) / (2 * square);
}
