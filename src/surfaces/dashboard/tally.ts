/**
 * What is counted for the dashboard: sums over slots of time, in hashes that expire. Each resolution has its
 * own hashes, so that an hour, a day and a week are each read from at most two of them, and nothing is ever
 * counted by looking at jobs.
 */
export interface Resolution {
  readonly name: string;
  readonly slotMs: number;
  /** Slots of one hash. */
  readonly slots: number;
  /** So long is a slot shown. */
  readonly shownMs: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const RESOLUTIONS = {
  now: { name: '10s', slotMs: 10_000, slots: 6, shownMs: MINUTE },
  hour: { name: '1m', slotMs: MINUTE, slots: 60, shownMs: HOUR },
  day: { name: '15m', slotMs: 15 * MINUTE, slots: 96, shownMs: DAY },
  week: { name: '2h', slotMs: 2 * HOUR, slots: 96, shownMs: 7 * DAY },
} as const satisfies Record<string, Resolution>;
export type Span = Exclude<keyof typeof RESOLUTIONS, 'now'>;
const ALL = Object.values<Resolution>(RESOLUTIONS);

/** What is counted in each slot. An attempt that was refuted is counted when its job ends. */
export const COUNTERS = [
  'accepted',
  'done',
  'rejected',
  'failed',
  'expired',
  'cancelled',
  'refuted',
  'returned',
  'lost',
] as const;
export type Counter = (typeof COUNTERS)[number];

/** Bounds (ms) of the buckets in which the times to done are counted; the last one has no end. */
export const BUCKETS_MS = Array.from({ length: 24 }, (_, at) => Math.round(10 * 2 ** (at * 0.75)));
/** Models that are told apart in a process; what comes beyond is `other`. */
const MAX_MODELS = 32;
const MAX_CODES = 64;

/** One field of a slot and what is added to it: a counter, a bucket, a refusal, or a phase of a model. */
export type Added = readonly [field: string, by: number];

export interface EndOfJob {
  readonly model: string;
  readonly state: string;
  readonly waitMs?: number | undefined;
  readonly runMs?: number | undefined;
  readonly confirmMs?: number | undefined;
  /** How the attestor closed its attempts. */
  readonly closings: readonly string[];
}

const CLOSED: Readonly<Record<string, Counter>> = { refuted: 'refuted', released: 'returned', lost: 'lost' };
const isCounter = (name: string): name is Counter => COUNTERS.some((known) => known === name);

/** What the end of a job adds. */
export function addedBy({ model, state, waitMs, runMs, confirmMs, closings }: EndOfJob): Added[] {
  const counters = [state, ...closings.flatMap((why) => CLOSED[why] ?? [])].filter(isCounter);
  const added: Added[] = counters.map((counter) => [counter, 1]);
  if (waitMs === undefined || runMs === undefined || confirmMs === undefined) return added;
  const bucket = BUCKETS_MS.findIndex((bound) => waitMs + runMs + confirmMs <= bound);
  const phase = (name: string, ms: number): Added => [`m:${model}:${name}`, Math.round(ms)];
  return [
    ...added,
    [`b${bucket === -1 ? BUCKETS_MS.length : bucket}`, 1],
    phase('n', 1),
    phase('wait', waitMs),
    phase('run', runMs),
    phase('confirm', confirmMs),
  ];
}

/** What a refusal adds. */
export const refusal = (code: string): Added => [`x:${code}`, 1];

/** What one hash gets: its period, how long it lives from now (ms), and what is added. */
export interface TallyUpdate {
  readonly period: string;
  readonly lifeMs: number;
  readonly fields: readonly Added[];
}

/**
 * Sums what was added until it is taken. It is bounded: the names of models and codes beyond a number that no
 * installation has are counted under one name.
 */
export class Sums {
  readonly #fields = new Map<string, number>();
  readonly #models = new Set<string>();
  readonly #codes = new Set<string>();

  add(added: readonly Added[]): void {
    for (const [field, by] of added) {
      const name = this.#known(field);
      this.#fields.set(name, (this.#fields.get(name) ?? 0) + by);
    }
  }

  /** The updates of all resolutions at this time; undefined where nothing was added. The sums begin anew. */
  take(nowMs: number): TallyUpdate[] | undefined {
    if (this.#fields.size === 0) return undefined;
    const sums = [...this.#fields];
    this.#fields.clear();
    return ALL.map((resolution) => {
      const { chunk, slot } = slotOf(resolution, nowMs);
      return {
        period: `${resolution.name}:${chunk}`,
        lifeMs: resolution.shownMs + 2 * resolution.slots * resolution.slotMs,
        fields: sums.map(([field, by]) => [`${slot}:${field}`, by]),
      };
    });
  }

  #known(field: string): string {
    const [kind, name = '', phase = ''] = field.split(':');
    if (kind === 'm') return has(this.#models, name, MAX_MODELS) ? field : `m:other:${phase}`;
    if (kind === 'x') return has(this.#codes, name, MAX_CODES) ? field : 'x:other';
    return field;
  }
}

function has(known: Set<string>, name: string, most: number): boolean {
  if (known.size < most) known.add(name);
  return known.has(name);
}

/** The hash and the slot in it that a time falls into. */
export function slotOf({ slotMs, slots }: Resolution, atMs: number): { chunk: number; slot: number } {
  const number = Math.floor(atMs / slotMs);
  return { chunk: Math.floor(number / slots), slot: number % slots };
}

/** The hashes that a span is read from at a time. */
export function periodsOf(span: Span, nowMs: number): string[] {
  const resolution: Resolution = RESOLUTIONS[span];
  const last = slotOf(resolution, nowMs).chunk;
  const first = slotOf(resolution, nowMs - resolution.shownMs).chunk;
  return Array.from({ length: last - first + 1 }, (_, at) => `${resolution.name}:${first + at}`);
}

/** One slot of a history: its begin (ms), what was counted, the times to done (ms) of half and of 95 %. */
export interface Point extends Readonly<Record<Counter, number>> {
  readonly atMs: number;
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
}

/** What a span held: its slots, the first first; refusals by code; the mean phases (ms) by model. */
export interface History {
  readonly slotMs: number;
  readonly points: readonly Point[];
  readonly refusals: readonly { readonly code: string; readonly count: number }[];
  readonly phases: readonly {
    readonly model: string;
    readonly jobs: number;
    readonly waitMs: number;
    readonly runMs: number;
    readonly confirmMs: number;
  }[];
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
}

/**
 * The history of a span from its hashes, in the order of `periodsOf`. A field that this does not write counts
 * as 0.
 */
export function historyOf(span: Span, nowMs: number, hashes: readonly Readonly<Record<string, string>>[]): History {
  const resolution: Resolution = RESOLUTIONS[span];
  const { slotMs, slots, shownMs } = resolution;
  const last = Math.floor(nowMs / slotMs);
  const first = last - shownMs / slotMs + 1;
  const firstChunk = slotOf(resolution, nowMs - shownMs).chunk;
  const bySlot = new Map<number, Map<string, number>>();
  const total = new Map<string, number>();
  hashes.forEach((hash, at) => {
    for (const [name, value] of Object.entries(hash)) {
      const [, slot, field = ''] = /^(\d{1,3}):(.+)$/.exec(name) ?? [];
      const number = (firstChunk + at) * slots + Number(slot);
      const amount = Number(value);
      if (!Number.isSafeInteger(amount) || Number(slot) >= slots || !(number >= first && number <= last)) continue;
      const fields = bySlot.get(number) ?? new Map<string, number>();
      bySlot.set(number, fields.set(field, (fields.get(field) ?? 0) + amount));
      total.set(field, (total.get(field) ?? 0) + amount);
    }
  });
  const points = Array.from({ length: last - first + 1 }, (_, at) =>
    pointOf((first + at) * slotMs, bySlot.get(first + at) ?? new Map()),
  );
  const { p50Ms, p95Ms } = quantiles(total);
  return { slotMs, points, refusals: refusalsIn(total), phases: phasesIn(total), p50Ms, p95Ms };
}

function pointOf(atMs: number, fields: ReadonlyMap<string, number>): Point {
  const of = (name: Counter) => fields.get(name) ?? 0;
  return {
    atMs,
    accepted: of('accepted'),
    done: of('done'),
    rejected: of('rejected'),
    failed: of('failed'),
    expired: of('expired'),
    cancelled: of('cancelled'),
    refuted: of('refuted'),
    returned: of('returned'),
    lost: of('lost'),
    ...quantiles(fields),
  };
}

function quantiles(fields: ReadonlyMap<string, number>): { p50Ms: number | undefined; p95Ms: number | undefined } {
  const buckets = [...BUCKETS_MS, undefined].map((_, at) => fields.get(`b${at}`) ?? 0);
  return { p50Ms: quantile(buckets, 0.5), p95Ms: quantile(buckets, 0.95) };
}

/** Where this share of what is in the buckets lies, evenly spread within a bucket; undefined of nothing. */
export function quantile(buckets: readonly number[], share: number): number | undefined {
  const all = buckets.reduce((sum, count) => sum + count, 0);
  if (all === 0) return undefined;
  let before = 0;
  for (const [at, count] of buckets.entries()) {
    if (count > 0 && before + count >= share * all) {
      const low = at === 0 ? 0 : (BUCKETS_MS[at - 1] ?? 0);
      const high = BUCKETS_MS[at] ?? low;
      return Math.round(low + ((share * all - before) / count) * (high - low));
    }
    before += count;
  }
  return BUCKETS_MS.at(-1);
}

function refusalsIn(total: ReadonlyMap<string, number>): History['refusals'] {
  return [...total]
    .flatMap(([field, count]) => (field.startsWith('x:') ? [{ code: field.slice(2), count }] : []))
    .toSorted((a, b) => b.count - a.count);
}

function phasesIn(total: ReadonlyMap<string, number>): History['phases'] {
  return [...total]
    .flatMap(([field, jobs]) => {
      const [kind, model = '', what] = field.split(':');
      if (kind !== 'm' || what !== 'n' || jobs <= 0) return [];
      const mean = (phase: string) => Math.round((total.get(`m:${model}:${phase}`) ?? 0) / jobs);
      return [{ model, jobs, waitMs: mean('wait'), runMs: mean('run'), confirmMs: mean('confirm') }];
    })
    .toSorted((a, b) => b.jobs - a.jobs);
}
