import type { Redis } from 'ioredis';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { CatalogModel } from '../catalog/catalog.ts';
import { AdmissionRule, type AdmissionLimits } from './admission-limits.ts';
import { fairnessOf } from './fairness.ts';
import { ConfirmationPace } from './confirmation-pace.ts';
import { hintedMs, type JobSize } from './job-size.ts';
import { BANDS, type BandName } from '../../proof/contract/bands.ts';
import { jobsBeside, laneOf, turnsBeside } from '../backlog/bands.ts';
import { LANES, TURNS } from '../backlog/lua-parts.ts';
import { standingIn } from '../backlog/pool-state.ts';
import { keptIn } from './learned.store.ts';
import { offerOf, type Offer, type Place } from './offer.ts';
import { Paths, memoryOfRates, type FlowState, type QueueState, type Waiting } from './queue-state.ts';
import { SlotTimes } from './slot-times.ts';

const READ = loadScript(new URL('./lua/read-outlook.lua', import.meta.url), parseReading, { included: [LANES, TURNS] });

/** What was read is believed for so long; it is read again behind whoever asks later. */
const FRESH_MS = 200;
/** Nobody asked for so long: what was read says nothing of now. */
const STALE_MS = 2_000;
/** More flows than this are not read each time: their number alone says that there is a crowd. */
const MOST_FLOWS = 1_000;

/** A job that is asked about: whose it is, how long it may be, and how long it has (ms). */
export interface Asked {
  readonly size: JobSize;
  readonly flow: string;
  readonly band: BandName;
  /** That of its flow, or 1 for a flow that is not known, where it is absent. */
  readonly weight?: number;
  readonly timeMs: number;
  /** It is not to begin yet: whom it meets when its time has come is in the place that it has then. */
  readonly isLater?: boolean;
}

/** What is foreseen of a job before it has its place. */
export interface Forecast {
  readonly weight: number;
  /** What its slot is expected to be held for, in units that are alike for all jobs of the queue. */
  readonly cost: number;
  /**
   * Slots of the workers that are there for a new job; 0 where nobody is, where its pool is paused, or where
   * nothing was read yet.
   */
  readonly slots: number;
  readonly offer: Offer;
  readonly limits: AdmissionLimits;
  /** What the slots together take (ms) for a unit of cost. */
  readonly perCostMs: number;
  /** How long (ms) its flow's share of the workers takes for it. */
  readonly turnMs: number;
}

/** A queue as it was read, with all its bands. */
interface WholeQueue {
  readonly common: Omit<QueueState, keyof Waiting | 'beside'>;
  readonly bands: Readonly<Record<BandName, Waiting>>;
}

interface Reading extends WholeQueue {
  readonly learned: string;
  /** Entries of the log, and answers that are not confirmed yet. */
  readonly logged: number;
  readonly unconfirmed: number;
}

/** One queue as an API knows it. */
interface Known {
  readonly rule: AdmissionRule;
  times: SlotTimes;
  learned: string;
  whole: WholeQueue;
  /** By band, since it was read. */
  paths: Map<BandName, Paths>;
  readMs: number;
  reading: Promise<void> | undefined;
}

/**
 * What can be foreseen of the queues. It is read from Redis at most five times a second and queue, behind
 * those who ask, so that no submission waits for it.
 */
export class Outlooks {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #probability: number;
  readonly #known = new Map<string, Known>();
  readonly #pace = new ConfirmationPace();

  /** `probability`: how likely a job must be to end in time, so that it is admitted. */
  constructor(redis: Redis, keys: RedisKeys, probability: number) {
    this.#redis = redis;
    this.#keys = keys;
    this.#probability = probability;
  }

  /** What is foreseen of a job by what was read last. */
  forecast(model: CatalogModel, { size, flow, band, weight: asked, timeMs, isLater = false }: Asked): Forecast {
    const known = this.#of(model);
    if (performance.now() - known.readMs > FRESH_MS) void this.#read(model, known).catch(() => undefined);
    const { times, rule } = known;
    const isCurrent = performance.now() - known.readMs <= STALE_MS;
    const state = stateOf(isCurrent ? known.whole : UNREAD, band);
    const weight = asked ?? state.flows.get(flow)?.weight ?? 1;
    const cost = times.costOf(size, flow);
    const paths = known.paths.get(band) ?? new Paths(state, times, hintedMs(size, model.hint));
    known.paths.set(band, paths);
    const path = paths.of(flow, weight);
    const perCostMs = times.slotSpeed / Math.max(1, state.slots);
    const offer = offerOf(state, times, isLater ? { ...path, perTagMs: weight * perCostMs } : path, cost);
    return {
      weight,
      cost,
      slots: state.isPaused ? 0 : state.slots,
      offer,
      perCostMs,
      limits: rule.limits(offer, timeMs, times.count, weight),
      turnMs: (cost * perCostMs * path.weights) / weight,
    };
  }

  /** The same by what Redis says now. */
  async current(model: CatalogModel, asked: Asked): Promise<{ forecast: Forecast; state: QueueState }> {
    const known = this.#of(model);
    if (performance.now() - known.readMs > FRESH_MS) await this.#read(model, known);
    return { forecast: this.forecast(model, asked), state: stateOf(known.whole, asked.band) };
  }

  /**
   * How evenly the standard band of a model's queue is shared now; undefined where too few want more than
   * their share.
   */
  async fairness(model: CatalogModel): Promise<number | undefined> {
    const known = this.#of(model);
    if (performance.now() - known.readMs > FRESH_MS) await this.#read(model, known);
    return fairnessOf(stateOf(known.whole, 'standard'), known.times);
  }

  /** The place that a job would have if it came now; undefined where nobody takes it. */
  async placeOfNew(
    model: CatalogModel,
    asked: Asked,
  ): Promise<{ readonly place: Place | undefined; readonly forecast: Forecast }> {
    const { forecast, state } = await this.current(model, asked);
    const { slots } = forecast;
    if (slots === 0) return { place: undefined, forecast };
    const tag = Math.max(state.present, state.flows.get(asked.flow)?.finish ?? 0);
    const lane = laneOf(queueName(model.pool, model.name), asked.band);
    const ahead = await this.#redis.zcount(this.#keys.backlog(lane), '-inf', tag);
    const beside = jobsBeside(asked.band, ahead, this.#waitingOf(model));
    const ends = Math.max(0, state.running + state.released + ahead + beside - slots + 1);
    return { place: { ends, distance: ends === 0 ? 0 : tag - state.present }, forecast };
  }

  /** How many jobs wait in each band, by what was read last. */
  #waitingOf(model: CatalogModel): Readonly<Record<BandName, number>> {
    const { interactive, standard, batch } = this.#of(model).whole.bands;
    return { interactive: interactive.waiting, standard: standard.waiting, batch: batch.waiting };
  }

  #of(model: CatalogModel): Known {
    const queue = queueName(model.pool, model.name);
    const known: Known = this.#known.get(queue) ?? {
      rule: new AdmissionRule(this.#probability),
      times: new SlotTimes(model.hint),
      learned: '',
      whole: UNREAD,
      paths: new Map(),
      readMs: -Infinity,
      reading: undefined,
    };
    this.#known.set(queue, known);
    return known;
  }

  /** One reading at a time, however many ask for it. */
  #read(model: CatalogModel, known: Known): Promise<void> {
    known.reading ??= this.#readNow(model, known).finally(() => {
      known.reading = undefined;
    });
    return known.reading;
  }

  async #readNow(model: CatalogModel, known: Known): Promise<void> {
    const queue = queueName(model.pool, model.name);
    const { common, bands, learned, logged, unconfirmed } = await READ.run(
      this.#redis,
      [this.#keys.open],
      [this.#keys.prefix, queue, MOST_FLOWS, this.#keys.attest(model.pool)],
    );
    if (learned !== known.learned) {
      known.times = keptIn(learned, model.hint).times;
      known.learned = learned;
    }
    this.#pace.note(common.atMs, logged);
    known.whole = { common: { ...common, confirmMs: this.#pace.waitMs(unconfirmed) }, bands };
    known.paths = new Map();
    known.readMs = performance.now();
  }
}

/** The queue as a job of a band meets it. */
function stateOf({ common, bands }: WholeQueue, band: BandName): QueueState {
  const others = BANDS.filter((other) => other !== band);
  const beside = others.map((other) => ({ ...bands[other], turns: turnsBeside(band, other) }));
  return { ...common, ...bands[band], beside };
}

const NOTHING: Waiting = { waiting: 0, present: 1, flows: new Map() };
const UNREAD: WholeQueue = {
  common: {
    atMs: 0,
    slots: 0,
    coldMs: 0,
    isPaused: false,
    running: 0,
    released: 0,
    confirmMs: 0,
    rateMemoryMs: memoryOfRates(0),
  },
  bands: { interactive: NOTHING, standard: NOTHING, batch: NOTHING },
};

function parseReading(reply: unknown): Reading {
  const [now, slots, running, released, learned, standing, took, logged, unconfirmed, cold, lanes] = cells(reply);
  const [standard, interactive, batch] = cells(lanes);
  return {
    learned: text(learned),
    logged: Number(logged),
    unconfirmed: integer(unconfirmed),
    common: {
      atMs: integer(now),
      slots: Number(slots),
      coldMs: Number(cold) || 0,
      isPaused: standingIn(text(standing))?.state === 'paused',
      running: integer(running),
      released: integer(released),
      confirmMs: 0,
      rateMemoryMs: memoryOfRates(Number(took) || 0),
    },
    bands: {
      interactive: parseWaiting(interactive),
      standard: parseWaiting(standard),
      batch: parseWaiting(batch),
    },
  };
}

function parseWaiting(row: unknown): Waiting {
  const [waiting, present, flows] = cells(row);
  const values = cells(flows).map(text);
  const all = new Map<string, FlowState>();
  for (let at = 0; at + 1 < values.length; at += 2) {
    const [finish, , rate, rateAtMs, weight] = (values[at + 1] ?? '').split(' ').map(Number);
    if (finish === undefined || rate === undefined || rateAtMs === undefined || weight === undefined) continue;
    all.set(values[at] ?? '', { finish, rate, rateAtMs, weight });
  }
  return { waiting: integer(waiting), present: Number(present), flows: all };
}
