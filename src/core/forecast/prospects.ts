import type { Redis } from 'ioredis';
import { isFinal } from '../../proof/contract/job-states.ts';
import { DEFAULTS } from '../../proof/contract/submit-job.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, oneOf, optional, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { Catalog, CatalogModel } from '../catalog/catalog.ts';
import type { JobView } from '../jobs/job.reader.ts';
import { readDuePlace, type DueJob } from './due-places.ts';
import { toldOf, type Offer, type Place } from './offer.ts';
import { AT_WORK, LANES, RETRY_BUDGET, TURNS } from '../backlog/lua-parts.ts';
import { RETRIES } from '../backlog/retry-budget.ts';
import { standingIn } from '../backlog/pool-state.ts';
import type { Asked, Forecast, Outlooks } from './outlooks.ts';
import { endAt } from './told.ts';

const READ = loadScript(new URL('./lua/read-place.lua', import.meta.url), optional(parseSpot), {
  included: [LANES, TURNS, AT_WORK, RETRY_BUDGET],
});

/** A confirmation that has begun is over at a constant rate: these shares of its mean are its quantiles. */
const HALF = Math.LN2;
const NINE_TENTHS = Math.LN10;

/** An end is told again when it has moved by this share of the time that is left, and by so many ms. */
const MOVE = 0.1;
const LEAST_MOVE_MS = 250;

/** Where an open job stands, as Redis had it at one moment (`nowMs`, by Redis' clock). */
export interface Spot {
  readonly nowMs: number;
  /** `later`: it is not to begin yet, and has no turn. `held`: a limit holds it back. */
  readonly set: 'later' | 'backlog' | 'held' | 'released' | 'ready' | 'begun';
  /** Jobs that begin before it. */
  readonly before: number;
  /** Jobs whose engines run. */
  readonly running: number;
  /** Of its tag from the present; above 0 where its flow has taken its share. */
  readonly distance: number;
  readonly flow: string;
  /** Its confirmation has its place in the log, and the checkpoint is to be published. */
  readonly isLogged: boolean;
  /** Since when (ms) its case cannot be judged, and how often that was tried. */
  readonly aside: { readonly sinceMs: number; readonly tries: number } | undefined;
  /** It was not given to workers, and its pool is paused since then (ms). */
  readonly pausedMs: number | undefined;
  /** The limit that holds it back. */
  readonly limit: HoldingLimit | undefined;
  /** Where its queue has no retry left: how many are held back for that, it among them. */
  readonly retries: number | undefined;
  /** What its pool's workers have handed in and no attestor has taken. */
  readonly handedIn: number;
  /** Answers that attestors are confirming, of all pools. */
  readonly confirming: number;
}

/** A limit on what workers have at once, as far as it holds a job back. */
export interface HoldingLimit {
  readonly isOfKey: boolean;
  readonly isOfModel: boolean;
  readonly most: number;
  readonly atWork: number;
}

/** When a job ends: with these probabilities it has ended by then (ms since the epoch). */
export interface Eta {
  readonly p50Ms: number;
  readonly p90Ms: number;
}

/** What a caller is told of an open job. */
export interface Foreseen {
  /** How many jobs are to end before it begins; undefined where its engine has begun, or nobody takes it. */
  readonly position: number | undefined;
  /** Undefined where nobody takes it, and where it has taken longer than nearly all do. */
  readonly eta: Eta | undefined;
}

/** What is foreseen of an open job. */
export interface Prospect extends Foreseen {
  readonly spot: Spot;
  /** Places of the workers that are there. */
  readonly slots: number;
}

/** Foresees what becomes of open jobs. Any number of callers at once. */
export class Prospects {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #catalog: Catalog;
  readonly #outlooks: Outlooks;

  constructor(redis: Redis, keys: RedisKeys, catalog: Catalog, outlooks: Outlooks) {
    this.#redis = redis;
    this.#keys = keys;
    this.#catalog = catalog;
    this.#outlooks = outlooks;
  }

  /** What is foreseen of this job; undefined where it has ended, or its model is served no more. */
  async of(view: JobView): Promise<Prospect | undefined> {
    if (isFinal(view.state) || view.ticket === undefined) return undefined;
    const model = this.#catalog.get(view.model);
    const spot = await READ.run(this.#redis, [this.#keys.open], [this.#keys.prefix, view.id]);
    if (model === undefined || spot === undefined) return undefined;
    const { task, params, inputBytes } = readTicket(view.id, view.ticket).ticket.predicate;
    const { forecast, state } = await this.#outlooks.current(model, {
      size: { task, maxTokens: params.max_tokens, inputBytes },
      flow: spot.flow,
      band: view.band ?? DEFAULTS.band,
      timeMs: Math.max(0, view.deadlineMs - spot.nowMs),
      isLater: spot.set === 'later',
    });
    const { notBeforeMs, id } = view;
    const due =
      spot.set === 'later' && notBeforeMs !== undefined
        ? await this.#placeThen(model, forecast, { flow: spot.flow, band: view.band ?? DEFAULTS.band, notBeforeMs, id })
        : undefined;
    return prospectOf(view, spot, { offer: forecast.offer, slots: state.slots }, due);
  }

  /**
   * The place that a job would have if it came now, and when it would end; undefined where nobody takes it.
   * One that is not to begin before `notBeforeMs` would have none yet.
   */
  async ofNew(model: CatalogModel, asked: Asked, notBeforeMs?: number): Promise<Foreseen | undefined> {
    const { place, forecast } = await this.#outlooks.placeOfNew(model, {
      ...asked,
      isLater: notBeforeMs !== undefined,
    });
    if (place === undefined) return undefined;
    if (notBeforeMs === undefined) return { position: place.ends, eta: etaAt(forecast.offer, place, Date.now()) };
    const then = await this.#placeThen(model, forecast, { flow: asked.flow, band: asked.band, notBeforeMs, id: '' });
    return { position: undefined, eta: etaAt(forecast.offer, then, notBeforeMs) };
  }

  /** Where a job stands when its time has come. */
  #placeThen({ pool, name }: CatalogModel, forecast: Forecast, job: Omit<DueJob, 'queue'>): Promise<Place> {
    const at = { redis: this.#redis, keys: this.#keys };
    return readDuePlace(at, forecast, { ...job, queue: queueName(pool, name) });
  }
}

/** When a job ends that has this place at `nowMs`. */
export function etaAt(offer: Offer, place: Place, nowMs: number): Eta {
  const told = toldOf(offer, place);
  return { p50Ms: nowMs + endAt(told, 'z50'), p90Ms: nowMs + endAt(told, 'z90') };
}

/**
 * What is foreseen of an open job that stands there. One whose time has not come gets the place that it will
 * have then: `due`.
 */
export function prospectOf(
  view: Pick<JobView, 'state' | 'attempts' | 'notBeforeMs'>,
  spot: Spot,
  { offer, slots }: Pick<Forecast, 'offer' | 'slots'>,
  due?: Place,
): Prospect {
  const { nowMs, before, running, distance, aside, pausedMs, set } = spot;
  const known = { spot, slots };
  const last = view.attempts.at(-1);
  if (aside !== undefined) return { ...known, position: undefined, eta: undefined };
  if (view.state === 'attesting') {
    const [half, most] = [HALF * offer.afterMs, NINE_TENTHS * offer.afterMs];
    return { ...known, position: undefined, eta: { p50Ms: nowMs + half, p90Ms: nowMs + most } };
  }
  if (view.state === 'running') {
    const { p50Ms, p90Ms } = etaAt({ ...offer, coldMs: 0 }, { ends: 0, distance: 0 }, last?.beganMs ?? nowMs);
    const eta = p90Ms < nowMs ? undefined : { p50Ms: Math.max(nowMs, p50Ms), p90Ms };
    return { ...known, position: undefined, eta };
  }
  if (slots === 0 || pausedMs !== undefined || set === 'held') return { ...known, position: undefined, eta: undefined };
  if (set === 'later') {
    const atMs = Math.max(nowMs, view.notBeforeMs ?? nowMs);
    return { ...known, position: undefined, eta: due === undefined ? undefined : etaAt(offer, due, atMs) };
  }
  const ends = Math.max(0, running + before - slots + 1);
  const place = { ends, distance: ends === 0 ? 0 : distance };
  return { ...known, position: ends, eta: etaAt(offer, place, nowMs) };
}

/** Whether what is foreseen has changed by so much that whoever follows the job is told again. */
export function hasMoved(told: Foreseen | undefined, now: Foreseen, nowMs: number): boolean {
  if (told?.position !== now.position || (told?.eta === undefined) !== (now.eta === undefined)) return true;
  if (told?.eta === undefined || now.eta === undefined) return false;
  const movedMs = Math.max(Math.abs(told.eta.p50Ms - now.eta.p50Ms), Math.abs(told.eta.p90Ms - now.eta.p90Ms));
  return movedMs > Math.max(LEAST_MOVE_MS, MOVE * (told.eta.p90Ms - nowMs));
}

/** Whether a job that stands there was not given to workers. */
function isHeldBack(set: Spot['set']): boolean {
  return set === 'backlog' || set === 'held' || set === 'later';
}

function parseSpot(reply: unknown): Spot {
  const [now, set, before, running, distance, flow, logged, since, tries, pool, limit, most, atWork, ...more] =
    cells(reply);
  const sinceMs = Number(text(since));
  const where = oneOf('later', 'backlog', 'held', 'released', 'ready', 'begun')(set);
  const standing = standingIn(text(pool));
  const isRetry = where === 'held' && text(limit) === RETRIES;
  return {
    nowMs: integer(now),
    set: where,
    before: integer(before),
    running: integer(running),
    distance: Math.max(0, Number(text(distance))),
    flow: text(flow),
    isLogged: integer(logged) === 1,
    aside: sinceMs === 0 ? undefined : { sinceMs, tries: Number(text(tries)) },
    pausedMs: isHeldBack(where) && standing?.state === 'paused' ? standing.sinceMs : undefined,
    limit: where === 'held' && !isRetry ? limitIn(text(limit), integer(most), integer(atWork)) : undefined,
    retries: isRetry ? integer(atWork) : undefined,
    handedIn: integer(more[0]),
    confirming: integer(more[1]),
  };
}

/** The limit of this name, see at-work.lua. */
function limitIn(name: string, most: number, atWork: number): HoldingLimit {
  const [, account, what] = name.split('/');
  return { isOfKey: account !== '-', isOfModel: what !== '*', most, atWork };
}
