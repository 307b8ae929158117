// What is offered: arrivals by seed, drawn before a run begins, so that nothing that the service does changes
// them. Times in ms.
import { normal, seeded } from './seeded.mjs';

/** Jobs of two sizes, half of each, with means of 0.4 and 1.6 of the mean of all. */
const SIZES = [
  { maxTokens: 64, factor: 0.4 },
  { maxTokens: 256, factor: 1.6 },
];
const SPREAD = 0.25;
const STEADY_PER_MINUTE = 45;
/** Where jobs are so long that this were more, it sends no more than this part of its share. */
const STEADY_OF_SHARE = 0.2;
const CROWD = 50;

export const WEIGHTS = [1, 1, 2, 4];

/** The tenants of all traces. An innocent one stays within its share, and none of its jobs may be refused. */
export const TENANTS = [
  ...WEIGHTS.map((weight, at) => ({ name: `greedy-${at}`, weight })),
  ...WEIGHTS.map((_, at) => ({ name: `equal-${at}`, weight: 1 })),
  { name: 'steady', weight: 1, isInnocent: true },
  { name: 'quiet', weight: 1, isInnocent: true },
  { name: 'flood', weight: 1 },
  ...Array.from({ length: CROWD }, (_, at) => ({ name: `crowd-${at}`, weight: 1 })),
];

/** What the steady tenant sends (jobs a second), where the slots can do so many. */
export const steadyRate = (perSecond) => Math.min(STEADY_PER_MINUTE / 60, STEADY_OF_SHARE * shareOfOne(perSecond));

/** What a tenant of weight 1 may have (jobs a second) while the greedy ones take the rest. */
export const shareOfOne = (perSecond) => perSecond / WEIGHTS.reduce((sum, weight) => sum + weight, 1);

/** Poisson arrivals of one tenant, by its rate (jobs per second). */
function arrivalsOf({ tenant, rate, fromMs, toMs }, serviceMs, random) {
  const arrivals = [];
  for (let atMs = fromMs; ;) {
    atMs += (-Math.log(1 - random()) / rate) * 1_000;
    if (atMs >= toMs) return arrivals;
    const { maxTokens, factor } = SIZES[random() < 0.5 ? 0 : 1];
    const ms = serviceMs * factor * Math.exp(SPREAD * normal(random) - SPREAD ** 2 / 2);
    arrivals.push({ atMs, tenant, maxTokens, ms: Math.max(1, ms) });
  }
}

/**
 * A trace. `load` is what the greedy tenants offer, in parts of what the slots can do; above 1 the light ones
 * offer more than the heavy ones, below 1 each offers what its weight is worth.
 */
export function traceOf(kind, { load = 0, serviceMs, slots, endMs, seed, crowd }) {
  const random = seeded(seed);
  const perSecond = (slots * 1_000) / serviceMs;
  const shares = load > 1 ? [0.3, 0.3, 0.2, 0.2] : WEIGHTS.map((weight) => weight / 8);
  const names = kind === 'equal' ? 'equal' : 'greedy';
  const flows = shares.map((share, at) => ({
    tenant: `${names}-${at}`,
    rate: load * share * perSecond,
    fromMs: 0,
    toMs: endMs,
  }));
  const rate = steadyRate(perSecond);
  flows.push({ tenant: 'steady', rate, fromMs: 0, toMs: endMs });
  if (crowd !== undefined)
    for (let at = 0; at < CROWD; at += 1)
      flows.push({ tenant: `crowd-${at}`, rate: (crowd.load * perSecond) / CROWD, ...crowd });
  return inOrder(flows.flatMap((flow) => arrivalsOf(flow, serviceMs, random)));
}

/** A tenant that asks for little, by itself. */
export function quietTrace({ rate, serviceMs, endMs, seed }) {
  return inOrder(arrivalsOf({ tenant: 'quiet', rate, fromMs: 0, toMs: endMs }, serviceMs, seeded(seed)));
}

function inOrder(arrivals) {
  return arrivals.toSorted((a, b) => a.atMs - b.atMs).map((arrival, number) => ({ ...arrival, number }));
}
