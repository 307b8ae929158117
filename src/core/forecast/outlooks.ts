import type { Redis } from 'ioredis';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { CatalogModel } from '../catalog/catalog.ts';
import { AdmissionRule, type AdmissionLimits } from './admission-limits.ts';
import { fairnessOf } from './fairness.ts';
import { ConfirmationPace } from './confirmation-pace.ts';
import { hintedMs, type JobSize } from './job-size.ts';
import { TURNS } from '../backlog/lua-parts.ts';
import { standingIn } from '../backlog/pool-state.ts';
import { keptIn } from './learned.store.ts';
import { offerOf, type Offer, type Place } from './offer.ts';
import { Paths, memoryOfRates, type FlowState, type QueueState } from './queue-state.ts';
import { SlotTimes } from './slot-times.ts';

const READ = loadScript(new URL('./lua/read-outlook.lua', import.meta.url), parseReading, { included: [TURNS] });

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

interface Reading {
  readonly state: Omit<QueueState, 'confirmMs'>;
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
  state: QueueState;
  paths: Paths | undefined;
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
  forecast(model: CatalogModel, { size, flow, weight: asked, timeMs, isLater = false }: Asked): Forecast {
    const known = this.#of(model);
    if (performance.now() - known.readMs > FRESH_MS) void this.#read(model, known).catch(() => undefined);
    const { times, rule } = known;
    const isCurrent = performance.now() - known.readMs <= STALE_MS;
    const state = isCurrent ? known.state : UNREAD;
    const weight = asked ?? state.flows.get(flow)?.weight ?? 1;
    const cost = times.costOf(size, flow);
    known.paths ??= new Paths(state, times, hintedMs(size, model.hint));
    const path = known.paths.of(flow, weight);
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
    return { forecast: this.forecast(model, asked), state: known.state };
  }

  /** How evenly the queue of a model is shared now; undefined where too few want more than their share. */
  async fairness(model: CatalogModel): Promise<number | undefined> {
    const known = this.#of(model);
    if (performance.now() - known.readMs > FRESH_MS) await this.#read(model, known);
    return fairnessOf(known.state, known.times);
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
    const ahead = await this.#redis.zcount(this.#keys.backlog(queueName(model.pool, model.name)), '-inf', tag);
    const ends = Math.max(0, state.running + state.released + ahead - slots + 1);
    return { place: { ends, distance: ends === 0 ? 0 : tag - state.present }, forecast };
  }

  #of(model: CatalogModel): Known {
    const queue = queueName(model.pool, model.name);
    const known: Known = this.#known.get(queue) ?? {
      rule: new AdmissionRule(this.#probability),
      times: new SlotTimes(model.hint),
      learned: '',
      state: UNREAD,
      paths: undefined,
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
    const { state, learned, logged, unconfirmed } = await READ.run(
      this.#redis,
      [this.#keys.open],
      [this.#keys.prefix, queue, MOST_FLOWS, this.#keys.attest(model.pool)],
    );
    if (learned !== known.learned) {
      known.times = keptIn(learned, model.hint).times;
      known.learned = learned;
    }
    this.#pace.note(state.atMs, logged);
    known.state = { ...state, confirmMs: this.#pace.waitMs(unconfirmed) };
    known.paths = undefined;
    known.readMs = performance.now();
  }
}

const UNREAD: QueueState = {
  atMs: 0,
  slots: 0,
  coldMs: 0,
  isPaused: false,
  running: 0,
  released: 0,
  waiting: 0,
  present: 1,
  confirmMs: 0,
  rateMemoryMs: memoryOfRates(0),
  flows: new Map(),
};

function parseReading(reply: unknown): Reading {
  const [now, slots, running, released, waiting, present, learned, flows, standing, took, logged, unconfirmed, cold] =
    cells(reply);
  const values = cells(flows).map(text);
  const all = new Map<string, FlowState>();
  for (let at = 0; at + 1 < values.length; at += 2) {
    const [finish, , rate, rateAtMs, weight] = (values[at + 1] ?? '').split(' ').map(Number);
    if (finish === undefined || rate === undefined || rateAtMs === undefined || weight === undefined) continue;
    all.set(values[at] ?? '', { finish, rate, rateAtMs, weight });
  }
  return {
    learned: text(learned),
    logged: Number(logged),
    unconfirmed: integer(unconfirmed),
    state: {
      atMs: integer(now),
      slots: Number(slots),
      coldMs: Number(cold) || 0,
      isPaused: standingIn(text(standing))?.state === 'paused',
      running: integer(running),
      released: integer(released),
      waiting: integer(waiting),
      present: Number(present),
      rateMemoryMs: memoryOfRates(Number(took) || 0),
      flows: all,
    },
  };
}
