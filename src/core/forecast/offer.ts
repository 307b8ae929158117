import type { Path, QueueState } from './queue-state.ts';
import type { SlotTimes } from './slot-times.ts';
import { lengthClassOf, type Quantiles, type Told } from './told.ts';

/** What is not known of how fast a queue moves, as a share of the wait. */
export const UNSURE = 0.05;

/**
 * All that is known of a job before it has its place: what it costs, how long its place takes for each job
 * that is to end before and for each unit of distance, what it takes itself, and how far all that may be off.
 * Times in ms.
 */
export interface Offer {
  readonly cost: number;
  readonly perEndMs: number;
  readonly perTagMs: number;
  /** Its slot is held for so long. */
  readonly ownMs: number;
  readonly sdOwnMs: number;
  /** From its commit to its confirmation. */
  readonly afterMs: number;
  /** Mean time of a job of the queue. */
  readonly meanMs: number;
  /** Of the time that a job takes which is to end before. */
  readonly sdEndMs: number;
  /** Its model is to be loaded first, which takes so long; 0 where it is. */
  readonly coldMs: number;
  readonly quantiles: readonly Readonly<Quantiles>[];
}

/** A job's place: how many jobs are to end before it begins, and its tag's distance from the present. */
export interface Place {
  readonly ends: number;
  readonly distance: number;
}

/** What is offered to a job of this cost. */
export function offerOf(state: QueueState, times: SlotTimes, path: Path, cost: number): Offer {
  const { speed } = times;
  const meanMs = (times.meanCost ?? cost) * speed;
  const ownMs = cost * speed;
  return {
    cost,
    perEndMs: path.perEndMs,
    perTagMs: path.perTagMs,
    ownMs,
    sdOwnMs: ownMs * Math.sqrt(Math.exp(times.spread) - 1),
    afterMs: Math.max(times.afterMs, state.confirmMs),
    meanMs,
    sdEndMs: ((times.meanCost ?? cost) * times.slotSpeed * Math.sqrt(1 + times.variation)) / Math.max(1, state.slots),
    coldMs: state.coldMs,
    quantiles: times.quantiles,
  };
}

/** When (ms from now) it is the turn of a job at this place: at once, or when as many have ended as must. */
export function startOf({ perEndMs, perTagMs }: Offer, { ends, distance }: Place): number {
  return ends <= 0 ? 0 : Math.max(ends * perEndMs, distance * perTagMs + perEndMs);
}

/** How far (ms) a start may be off. */
function sdOfStart({ sdEndMs }: Pick<Offer, 'sdEndMs'>, startMs: number, ends: number): number {
  return Math.sqrt(ends * sdEndMs ** 2 + (UNSURE * startMs) ** 2);
}

/** What the offer comes to at this place. */
export function toldOf(offer: Offer, place: Place): Told {
  const turnMs = startOf(offer, place);
  const sdStart = sdOfStart(offer, turnMs, place.ends);
  const startMs = turnMs + offer.coldMs;
  return {
    startMs,
    endMs: startMs + offer.ownMs + offer.afterMs,
    sdMs: Math.sqrt(sdStart ** 2 + offer.sdOwnMs ** 2) + 0.001,
    meanMs: offer.meanMs,
    quantiles: quantilesOf(offer, startMs),
  };
}

/** The quantiles of a wait of this length. */
export function quantilesOf({ quantiles, meanMs }: Offer, startMs: number): Readonly<Quantiles> {
  return quantiles[lengthClassOf({ startMs, meanMs })] ?? { z10: -1, z50: 0, z90: 1.3, z99: 2.5 };
}

const NUMBERS = ['cost', 'perEndMs', 'perTagMs', 'ownMs', 'sdOwnMs', 'afterMs', 'meanMs', 'sdEndMs', 'coldMs'] as const;

/** The offer as it is kept with the job, until what came of it is known: numbers, each after a space. */
export function offerText(offer: Offer): string {
  const times = NUMBERS.map((name) => Number(offer[name].toPrecision(5)));
  const zs = offer.quantiles.flatMap(({ z10, z50, z90, z99 }) => [z10, z50, z90, z99].map((z) => Math.round(z * 100)));
  return [...times, ...zs].join(' ');
}

/** What was kept of an offer: what a job was told, what it costs, and how far beyond its share it stood. */
interface Kept {
  readonly told: Told;
  readonly cost: number;
  readonly distance: number;
}

/** What a kept offer and the place behind it came to; undefined where the text is something else. */
export function toldIn(text: string): Kept | undefined {
  const numbers = text.split(' ').map(Number);
  if (numbers.length !== NUMBERS.length + 18 || numbers.some((number) => !Number.isFinite(number))) return undefined;
  const [cost = 0, perEndMs = 0, perTagMs = 0, ownMs = 0, sdOwnMs = 0, afterMs = 0, meanMs = 0, ...more] = numbers;
  const [sdEndMs = 0, coldMs = 0] = more;
  const last = NUMBERS.length;
  const quantiles = [0, 1, 2, 3].map((at) => {
    const [z10 = 0, z50 = 0, z90 = 0, z99 = 0] = numbers.slice(last + 4 * at, last + 4 * at + 4).map((z) => z / 100);
    return { z10, z50, z90, z99 };
  });
  const [ends = 0, distance = 0] = numbers.slice(-2);
  const offer = { cost, perEndMs, perTagMs, ownMs, sdOwnMs, afterMs, meanMs, sdEndMs, coldMs, quantiles };
  return { told: toldOf(offer, { ends, distance }), cost, distance };
}
