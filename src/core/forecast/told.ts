/** By how many standard deviations an end differs from the expected one, for the shares of ends named. */
export interface Quantiles {
  z10: number;
  z50: number;
  z90: number;
  z99: number;
}

/** Each quantile, the share of ends below it, and how fast it is learned: rare ones need larger steps. */
export const Z = [
  ['z10', 0.1, 1],
  ['z50', 0.5, 1],
  ['z90', 0.9, 1],
  ['z99', 0.99, 3],
] as const satisfies readonly (readonly [keyof Quantiles, number, number])[];

/** What a job was told at its admission: when it begins and ends, and how far that may be off; in ms. */
export interface Told {
  readonly startMs: number;
  readonly endMs: number;
  readonly sdMs: number;
  /** Mean time of a job then, which says what a long wait is. */
  readonly meanMs: number;
  readonly quantiles: Readonly<Quantiles>;
}

/** Waits are learned in classes by how many mean services they are long. */
const CLASSES = [1, 10, 300] as const;
/** What never ended well is later than anything that did. */
const NEVER_MS = 1e8;
/** Nothing is told of what is further away than some thirty years. */
const LONGEST_MS = 1e12;

/** The class of a wait: 0 to 3. */
export function lengthClassOf({ startMs, meanMs }: Pick<Told, 'startMs' | 'meanMs'>): 0 | 1 | 2 | 3 {
  if (startMs < CLASSES[0] * meanMs) return 0;
  if (startMs < CLASSES[1] * meanMs) return 1;
  return startMs < CLASSES[2] * meanMs ? 2 : 3;
}

/** The longest wait (ms) of each class but the last. */
export function longestOf(at: 0 | 1 | 2 | 3, meanMs: number): number {
  return at === 3 ? Infinity : CLASSES[at] * meanMs;
}

/** By how many standard deviations a job ended after the expected end. */
export function scoreOf({ endMs, sdMs }: Told, tookMs: number): number {
  return (Math.min(tookMs, NEVER_MS) - endMs) / sdMs;
}

/** When (ms from admission) a share of such jobs has ended. */
export function endAt(told: Told, quantile: keyof Quantiles): number {
  return Math.min(LONGEST_MS, Math.max(0, told.endMs + told.sdMs * told.quantiles[quantile]));
}
