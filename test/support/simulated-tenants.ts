/** A tenant of the simulation. Rates are per second, deadlines in ms. */
export interface SimulatedTenant {
  readonly name: string;
  readonly weight: number;
  readonly sizes: readonly number[];
  /** The share of `max_tokens` that its answers have. */
  readonly share: number;
  readonly rate: number;
  readonly deadlineMs: number;
  /** It stays within its share: none of its jobs may be refused. */
  readonly isInnocent?: boolean;
  /** The share of its rate that it sends at this time (ms); all of it by default. */
  readonly sends?: (atMs: number) => number;
  /** Whether it comes back when it was told to. */
  readonly obeys?: boolean;
}

/** What every job takes (ms), and each token of it. */
export const BASE_MS = 10;
export const TOKEN_MS = 0.8;

export function seeded(seed: number): () => number {
  let at = seed >>> 0;
  return () => {
    at = (at + 0x6d2b79f5) | 0;
    let mixed = Math.imul(at ^ (at >>> 15), 1 | at);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const normal = (random: () => number) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

/** What a job of this size truly takes (ms), which the policy does not know. */
export function truth(random: () => number, tokens: number, share: number): number {
  const generated = Math.min(tokens, tokens * share * Math.exp(0.5 * normal(random) - 0.125));
  return (BASE_MS + TOKEN_MS * generated) * Math.exp(0.25 * normal(random) - 0.03125);
}

/** What jobs of such a tenant take on average (ms). */
export function meanServiceMs({ sizes, share }: Pick<SimulatedTenant, 'sizes' | 'share'>): number {
  const random = seeded(7);
  let sum = 0;
  for (let at = 0; at < 4_000; at += 1) sum += truth(random, sizes[at % sizes.length] ?? 64, share);
  return sum / 4_000;
}

/** Four tenants of weights 1, 1, 2 and 4 that offer so many times what the slots can do, and a steady one. */
export function overload(load: number, deadlineMs = 5_000): SimulatedTenant[] {
  const shares = load > 1 ? [0.3, 0.3, 0.2, 0.2] : [0.125, 0.125, 0.25, 0.5];
  const greedy = [
    { weight: 1, sizes: [64, 256], share: 0.5 },
    { weight: 1, sizes: [64], share: 0.9 },
    { weight: 2, sizes: [256, 1_024], share: 0.3 },
    { weight: 4, sizes: [64, 256, 1_024], share: 0.1 },
  ].map((tenant, at) => ({
    ...tenant,
    name: `greedy-${at}`,
    deadlineMs,
    rate: (load * (shares[at] ?? 0) * 16 * 1_000) / meanServiceMs(tenant),
  }));
  const steady = { name: 'steady', weight: 1, sizes: [64, 256], share: 0.5, rate: 0.75, deadlineMs, isInnocent: true };
  return [...greedy, steady];
}

/** Fifty tenants that were never heard of before, all in the same moments (ms of the simulation). */
export function crowd(fromMs: number, toMs: number): SimulatedTenant[] {
  return Array.from({ length: 50 }, (_, at) => ({
    name: `new-${at}`,
    weight: 1,
    sizes: [64, 256],
    share: 0.5,
    rate: 40,
    deadlineMs: 5_000,
    sends: (atMs) => (atMs >= fromMs && atMs < toMs ? 1 : 0),
  }));
}

/** So many tenants of one weight who send a job now and then, together `load` times what 16 slots can do. */
export function seldom(
  count: number,
  { load, timesLonger, deadlineMs }: { load: number; timesLonger: number; deadlineMs: number },
): SimulatedTenant[] {
  const kind = { sizes: [64, 256], share: 0.5 };
  const rate = (load * 16 * 1_000) / (meanServiceMs(kind) * timesLonger) / count;
  return Array.from({ length: count }, (_, at) => ({ name: `seldom-${at}`, weight: 1, ...kind, rate, deadlineMs }));
}
