import { z } from 'zod';
import type { TimeHint } from '../engines/time-hint.ts';
import { hintedMs, sizeClassOf, type JobSize } from './job-size.ts';
import { lookedAt, NO_GAP, SlotGap, withEnded } from './slot-gap.ts';
import { lengthClassOf, scoreOf, Z, type Quantiles, type Told } from './told.ts';

/** A mean of the last many and one of the last few; where they part, the machine has changed. */
const SLOW = 1 / 128;
const FAST = 1 / 16;
const PARTED = 0.6;
/** So many are seen before an old truth is forgotten for a new one. */
const SEEN = 16;
/** A flow of which little is known is taken for an ordinary one: as if so many of its jobs were ordinary. */
const ORDINARY = 5;
const LONGEST_RATIO = 10;
/** How long (ms) it is remembered what a flow was served, or for so many mean jobs, if that is longer. */
const SERVED_MS = 5_000;
const SERVED_JOBS = 20;
/** Longer than any job. */
const LONGEST_MS = 1e9;
/** Flows whose ratios are kept; those that were confirmed last. */
const MOST_FLOWS = 200;
const MOST_SIZES = 200;
/** After so many jobs of a size, the shortest of them says something of the next. */
const ENOUGH = 100;
/** No job is expected to be shorter than this share of the shortest one. */
const LEAST = 0.5;
/** How fast the shortest is forgotten: it doubles in some 350 jobs that were longer. */
const FORGETS = 1.002;
/** Squared logarithms of how wrong a guess was; one job counts for no more. */
const WORST = 4;

const Figure = z.number();
const Stored = z.object({
  count: Figure,
  slow: z.object({ took: Figure, cost: Figure }),
  fast: z.object({ took: Figure, cost: Figure }),
  spread: Figure,
  meanCost: Figure,
  variation: Figure,
  afterMs: Figure,
  quantiles: z.array(z.object({ z10: Figure, z50: Figure, z90: Figure, z99: Figure })).length(4),
  sizes: z.record(z.string(), z.tuple([Figure, Figure, Figure])),
  flows: z.record(z.string(), z.tuple([Figure, Figure])),
  served: z.record(z.string(), z.tuple([Figure, Figure, Figure, Figure])).default({}),
  gap: SlotGap.default(NO_GAP),
});
type Stored = z.infer<typeof Stored>;

/** A confirmed job: who paid for its place, how long it held its slot, and what it was expected to cost. */
export interface Observation {
  readonly size: JobSize;
  readonly flow: string;
  readonly tookMs: number;
  readonly cost: number;
  /** From its commit to its confirmation (ms). */
  readonly afterMs: number;
  /**
   * From when to when it waited, by Redis' clock, where its flow had taken its share already.
   */
  readonly waited?: { readonly fromMs: number; readonly untilMs: number } | undefined;
  /** When it was confirmed, by the same clock. */
  readonly atMs: number;
}

/**
 * What the jobs of one queue take, learned from what was confirmed: how long a slot is held, by size and by
 * flow, how far a guess is off, and how wide an interval must be to hold what it promises. *Cost* is the
 * expected time (ms) at the speed of the first jobs; `speed` is what a unit of it takes now, so that a
 * machine that changes is one number and not a hundred.
 */
export class SlotTimes {
  readonly #hint: TimeHint;
  #state: Stored;

  /** Nothing is known yet but what the operator expects. */
  constructor(hint: TimeHint, state: Stored = fresh()) {
    this.#hint = hint;
    this.#state = state;
  }

  /** What `toText` wrote; undefined where it is something else. */
  static parse(text: string, hint: TimeHint): SlotTimes | undefined {
    try {
      const stored = Stored.safeParse(JSON.parse(text));
      return stored.success ? new SlotTimes(hint, stored.data) : undefined;
    } catch {
      return undefined;
    }
  }

  toText(): string {
    return JSON.stringify(this.#state, (_, value: unknown) =>
      typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value,
    );
  }

  /** How many confirmed jobs it was learned from. */
  get count(): number {
    return this.#state.count;
  }

  /** What a unit of cost takes (ms). */
  get speed(): number {
    const { count, slow } = this.#state;
    return count === 0 ? 1 : Math.min(1_000, Math.max(0.001, slow.took / slow.cost));
  }

  /** What a slot is taken for by a unit of cost (ms): what a job takes, and the way of the next one to it. */
  get slotSpeed(): number {
    const { count, meanCost, gap } = this.#state;
    return count === 0 ? 1 : this.speed + Math.max(0, gap.ms) / Math.max(0.1, meanCost);
  }

  /** Mean cost of a job; undefined where none was confirmed yet. */
  get meanCost(): number | undefined {
    return this.#state.count === 0 ? undefined : this.#state.meanCost;
  }

  /** The squared coefficient of variation of costs. */
  get variation(): number {
    return this.#state.variation;
  }

  /** The variance of the logarithm of time over expected time. */
  get spread(): number {
    return this.#state.spread;
  }

  /** From commit to confirmation (ms). */
  get afterMs(): number {
    return this.#state.afterMs;
  }

  get quantiles(): readonly Quantiles[] {
    return this.#state.quantiles;
  }

  /** The expected cost of a job of a flow. */
  costOf(size: JobSize, flow: string): number {
    const [, mean] = this.#size(size);
    const [count, ratio] = this.#state.flows[flow] ?? [0, 1];
    return Math.max(0.1, (mean * (ratio * count + ORDINARY)) / (count + ORDINARY));
  }

  /**
   * How long (ms) a slot is held at the least by a job of this size, on whichever worker; 0 where too little
   * is known to say so.
   */
  leastMs(size: JobSize): number {
    const [count, , shortest] = this.#size(size);
    return count < ENOUGH ? 0 : LEAST * shortest;
  }

  /** The same of any job of the queue, as far as sizes are known. */
  get leastOfAnyMs(): number {
    const { sizes, count } = this.#state;
    return count < ENOUGH ? 0 : LEAST * Math.min(...Object.values(sizes).map(([, , shortest]) => shortest));
  }

  /**
   * What a flow was served of late, where what is older than some seconds counts for less: for how long (ms)
   * slots were held for it, and for what part of the time it had work waiting beyond its share.
   */
  servedOf(flow: string, nowMs: number): { readonly heldMs: number; readonly waiting: number } {
    const [heldMs, waitedMs, , atMs] = this.#state.served[flow] ?? [0, 0, 0, nowMs];
    const left = Math.exp(Math.min(0, atMs - nowMs) / this.#servedMemoryMs);
    return { heldMs: heldMs * left, waiting: (waitedMs * left) / this.#servedMemoryMs };
  }

  /** Learns from a confirmed job. */
  learn({ size, flow, tookMs, cost, afterMs, waited, atMs }: Observation): void {
    const state = this.#state;
    const { speed } = this;
    const took = Math.max(0.01, tookMs);
    state.count += 1;
    state.gap = withEnded(state.gap, took);
    const { count } = state;
    this.#learnSize(size, flow, took / speed, took);
    this.#learnServed(flow, took, waited, atMs);
    for (const [mean, step] of [
      [state.slow, SLOW],
      [state.fast, FAST],
    ] as const) {
      mean.took += (took - mean.took) * Math.max(1 / count, step);
      mean.cost += (cost - mean.cost) * Math.max(1 / count, step);
    }
    const { slow, fast } = state;
    if (count > SEEN && Math.abs(Math.log(fast.took / fast.cost / (slow.took / slow.cost))) > PARTED)
      state.slow = { ...fast };
    const step = Math.max(1 / count, 0.02);
    const wrong = Math.log(took / (cost * this.speed)) ** 2;
    state.spread += (Math.min(WORST, wrong) - state.spread) * Math.max(1 / (count + 1), 0.02);
    state.meanCost += (cost - state.meanCost) * step;
    state.variation += ((cost / state.meanCost - 1) ** 2 + 0.3 - state.variation) * step;
    state.afterMs += (Math.max(0, afterMs) - state.afterMs) * Math.max(1 / count, 0.05);
  }

  /** Learns from how the queue stands: how many jobs wait for a slot, released ones among them. */
  look(queue: { readonly atMs: number; readonly waiting: number; readonly slots: number }): void {
    this.#state.gap = lookedAt(this.#state.gap, queue);
  }

  /**
   * Scores an interval that was told, by what came of it: `tookMs` from admission to confirmation, Infinity
   * where the job expired or lost its worker. A step is small where many wait, because what is learned shows
   * only after they have ended: steps faster than that swing.
   */
  score(told: Told, tookMs: number, { waiting, slots }: { waiting: number; slots: number }): void {
    const step = 2 / (20 + waiting + slots);
    const quantiles = this.#state.quantiles[lengthClassOf(told)];
    if (quantiles === undefined) return;
    const at = scoreOf(told, tookMs);
    for (const [name, share, weight] of Z) {
      const isBelow = at <= told.quantiles[name];
      quantiles[name] = Math.max(-8, Math.min(12, quantiles[name] + step * weight * (share - (isBelow ? 1 : 0))));
    }
    quantiles.z50 = Math.max(quantiles.z50, quantiles.z10 + 0.05);
    quantiles.z90 = Math.max(quantiles.z90, quantiles.z50 + 0.05);
    quantiles.z99 = Math.max(quantiles.z99, quantiles.z90 + 0.3);
  }

  /** How many of a size were confirmed, what they cost on average, and what the shortest took (ms). */
  #size(size: JobSize): readonly [count: number, mean: number, shortestMs: number] {
    return this.#state.sizes[sizeClassOf(size)] ?? [0, hintedMs(size, this.#hint), LONGEST_MS];
  }

  get #servedMemoryMs(): number {
    return Math.max(SERVED_MS, SERVED_JOBS * (this.meanCost ?? 0) * this.speed);
  }

  /** What waited at the same time as another of its flow is counted once. */
  #learnServed(flow: string, took: number, waited: Observation['waited'], atMs: number): void {
    const { served } = this.#state;
    const { heldMs, waiting } = this.servedOf(flow, atMs);
    const [, , seenMs] = served[flow] ?? [0, 0, 0];
    const { fromMs, untilMs } = waited ?? { fromMs: seenMs, untilMs: seenMs };
    const newMs = Math.max(0, untilMs - Math.max(fromMs, seenMs));
    const waitedMs = waiting * this.#servedMemoryMs + newMs;
    keepLast(served, flow, [heldMs + took, waitedMs, Math.max(seenMs, untilMs), atMs], MOST_FLOWS);
  }

  #learnSize(size: JobSize, flow: string, took: number, tookMs: number): void {
    const { sizes, flows } = this.#state;
    const [sizeCount, mean, shortestMs] = this.#size(size);
    const [flowCount, ratio] = flows[flow] ?? [0, 1];
    const newMean = mean + (took / (flowCount > 0 ? ratio : 1) - mean) * Math.max(1 / (sizeCount + 4), 0.01);
    keepLast(
      sizes,
      sizeClassOf(size),
      [sizeCount + 1, Math.max(0.1, newMean), Math.min(tookMs, shortestMs * FORGETS)],
      MOST_SIZES,
    );
    const newRatio = ratio + (Math.min(LONGEST_RATIO, took / newMean) - ratio) * Math.max(1 / (flowCount + 2), 0.02);
    keepLast(flows, flow, [flowCount + 1, newRatio], MOST_FLOWS);
  }
}

/** Sets a member as the newest, and lets go of the oldest where there are too many. */
function keepLast<Value>(all: Record<string, Value>, name: string, value: Value, most: number): void {
  if (Object.hasOwn(all, name)) Reflect.deleteProperty(all, name);
  else {
    const names = Object.keys(all);
    if (names.length >= most) Reflect.deleteProperty(all, names[0] ?? '');
  }
  all[name] = value;
}

function fresh(): Stored {
  const short = { z10: -1, z50: 0, z90: 1.3, z99: 2.5 };
  return {
    count: 0,
    slow: { took: 1, cost: 1 },
    fast: { took: 1, cost: 1 },
    spread: 0.3,
    meanCost: 1,
    variation: 1,
    afterMs: 0,
    quantiles: [{ ...short }, { ...short }, { ...short }, { z10: -3, z50: 0, z90: 3, z99: 5 }],
    sizes: {},
    flows: {},
    served: {},
    gap: NO_GAP,
  };
}
