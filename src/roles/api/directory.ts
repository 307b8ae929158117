import type { AttestorFigures, Coldness } from '../../core/forecast/why.ts';
import { RECOMPUTE_QUEUE } from '../../core/confirmation/recompute-queue.ts';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { StorageGate } from '../../ground/redis/storage-gate.ts';
import { queueName } from '../../ground/redis/keys.ts';
import type { StorageProbe, StorageProblem } from '../../ground/blobs/storage-probe.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { laneOf } from '../../core/backlog/bands.ts';
import { standingIn } from '../../core/backlog/pool-state.ts';
import type { QueueFigures } from '../../core/backlog/predicted-wait.ts';
import { Announcements, type Announcement } from '../../core/catalog/announcement.ts';
import type { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { BANDS } from '../../proof/contract/bands.ts';
import { residenceOf, type ServedModel } from '../../core/catalog/residence.ts';
import type { KeyringFile } from '../../proof/receipts/keyring.ts';
import type { ModelDocument, Participants, Readiness } from './directory.schemas.ts';

const CACHE_MS = 500;
const CACHE_NOBODY_MS = 50;

/** BullMQ keeps a queue's jobs by state; these are the ones that wait or run. */
const RECOMPUTE_STATES = 4;
/** Of the sets of a queue: jobs that wait in each band, that were released, and that are at a worker. */
const SETS_OF_A_QUEUE = BANDS.length + 2;
const NONE = { all: 0, due: 0 };

/** Numbers of jobs and messages, as the metrics name them. */
interface Backlogs {
  readonly open: number;
  readonly attesting: number;
  readonly confirming: number;
  readonly kept: number;
  readonly unentered: number;
  readonly unsettled: number;
  readonly stuck: number;
  readonly recomputing: number;
  readonly messages: number;
  readonly waiting: readonly { model: string; pool: string; jobs: number }[];
  readonly work: readonly { pool: string; jobs: number }[];
}

/**
 * The workers and attestors that are present. Announcements are read at most twice a second, however many
 * callers ask.
 */
export class Directory {
  readonly keyring: KeyringFile;
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #announcements: Announcements;
  readonly #catalog: Catalog;
  readonly #gate: StorageGate;
  readonly #storage: StorageProbe;
  /** Seconds: models are there since this process read the catalog. */
  readonly #since = Math.floor(Date.now() / 1_000);
  #cached: { until: number; present: Promise<{ workers: Announcement[]; attestors: Announcement[] }> } | undefined;

  constructor(parts: {
    redis: Redis;
    keys: RedisKeys;
    catalog: Catalog;
    keyring: KeyringFile;
    gate: StorageGate;
    storage: StorageProbe;
  }) {
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#announcements = new Announcements(parts.redis, parts.keys);
    this.#catalog = parts.catalog;
    this.#gate = parts.gate;
    this.#storage = parts.storage;
    this.keyring = parts.keyring;
  }

  async models(): Promise<ModelDocument[]> {
    const { workers, attestors } = await this.#present();
    return this.#catalog.all().map(({ name, pool, tasks, engine, sha256, capabilities }) => ({
      id: name,
      object: 'model',
      created: this.#since,
      owned_by: 'countersign',
      pool,
      tasks,
      engine,
      sha256,
      weights: capabilities.measuresWeights ? 'measured' : 'declared',
      ...residenceFields(workers, { name, pool, sha256 }),
      recomputing_attestors: attestors.filter(({ models }) =>
        models.some((model) => model.name === name && model.sha256 === sha256 && model.methods?.includes('recompute')),
      ).length,
    }));
  }

  /** All who are present, and the workers that a sequential test has put aside. */
  async workers(): Promise<Participants> {
    const [there, quarantined] = await Promise.all([this.#present(), this.#redis.smembers(this.#keys.quarantined)]);
    return { ...there, quarantined };
  }

  /** How many attestors are there, how many of them can confirm, and why one cannot. */
  async attestorFigures(): Promise<AttestorFigures> {
    const { attestors } = await this.#present();
    const problems = attestors.flatMap(({ problem }) => problem ?? []);
    return { present: attestors.length, able: attestors.length - problems.length, problem: problems[0] };
  }

  /** How many workers have a model, and do not serve it because what computes it is away or fails. */
  async enginesAway(model: string): Promise<number> {
    const { workers } = await this.#present();
    const pool = this.#catalog.get(model)?.pool;
    const isAway = ({ pool: own, state, away = [] }: Announcement) =>
      own === pool && state === 'consuming' && away.some(({ name }) => name === model);
    return workers.filter(isAway).length;
  }

  /** What a load of a model takes, and how many workers could load it, where none has it in memory. */
  async coldness(model: string): Promise<Coldness | undefined> {
    const { workers } = await this.#present();
    const served = this.#catalog.get(model);
    if (served === undefined) return undefined;
    const said = saidOf(workers, served);
    const { coldMs, loaded } = residenceOf(said, 1);
    return loaded > 0 || said.length === 0 ? undefined : { coldMs, workers: said.length };
  }

  /** Of the models that take turns in the memory of workers, how many have each loaded. */
  async loadedBy(): Promise<{ readonly model: string; readonly pool: string; readonly workers: number }[]> {
    const { workers } = await this.#present();
    return this.#catalog.all().flatMap((model) => {
      const said = saidOf(workers, model);
      const takesTurns = said.some(({ loaded }) => loaded !== undefined);
      return takesTurns ? [{ model: model.name, pool: model.pool, workers: residenceOf(said, 1).loaded }] : [];
    });
  }

  /** Ready means that a job sent now would be worked on and confirmed: not merely that a port listens. */
  async health(): Promise<Readiness> {
    try {
      const [{ workers, attestors }, isFull] = await Promise.all([this.#present(), this.#gate.isFull()]);
      const taking = workers.filter((worker) => worker.state === 'consuming');
      const consuming = taking.filter(({ models }) => models.length > 0).length;
      const confirming = attestors.filter(({ problem }) => problem === undefined).length;
      const problem = attestors.find((one) => one.problem !== undefined)?.problem;
      const disk = this.#storage.problem;
      const ready = consuming > 0 && confirming > 0 && !isFull && disk === undefined;
      const missing = [
        ...(consuming > 0 ? [] : [`no worker is consuming${whyPaused(workers)}${whyAway(taking)}`]),
        ...(attestors.length > 0 ? [] : ['no attestor is consuming']),
        ...(isFull ? ['the storage is nearly full'] : []),
        ...(disk === undefined ? [] : [DISK_PROBLEMS[disk]]),
        ...(attestors.length > 0 && confirming === 0 ? [`no attestor can confirm (${problem ?? ''})`] : []),
      ];
      return {
        ready,
        redis: true,
        workers: consuming,
        attestors: confirming,
        detail: ready ? 'ready' : missing.join(' and '),
      };
    } catch (error) {
      return {
        ready: false,
        redis: false,
        workers: 0,
        attestors: 0,
        detail: `Redis does not answer: ${messageOf(error).slice(0, 80)}`,
      };
    }
  }

  /** How many jobs wait for a model and run, how many can run at once now, and what one takes. */
  async queueOf({ name, pool, sha256, capabilities }: CatalogModel): Promise<QueueFigures> {
    const queue = queueName(pool, name);
    const [backlogs, released, leases, ready, took, standing, { workers }] = await Promise.all([
      Promise.all(BANDS.map((band) => this.#backlogOf(laneOf(queue, band)))),
      this.#redis.zcard(this.#keys.released(queue)),
      this.#redis.zcard(this.#keys.leases(queue)),
      this.#redis.zcard(this.#keys.ready(queue)),
      this.#redis.hget(this.#keys.pace(queue), 'took'),
      this.#redis.hget(this.#keys.poolStates, pool),
      this.#present(),
    ]);
    const [interactive = NONE, standard = NONE, batch = NONE] = backlogs;
    const { slots, coldMs } = residenceOf(saidOf(workers, { name, pool, sha256 }), capabilities.parallel);
    return {
      // What a worker holds ready waits for its engine.
      waiting: interactive.all + standard.all + batch.all + released + ready,
      given: released + ready,
      backlogs: { interactive: interactive.due, standard: standard.due, batch: batch.due },
      running: Math.max(0, leases - ready),
      slots,
      coldMs,
      tookMs: took === null ? undefined : Number(took),
      state: standingIn(standing ?? '')?.state ?? 'open',
    };
  }

  /** What waits in a band, and how much of it no limit holds back. */
  async #backlogOf(lane: string): Promise<typeof NONE> {
    const sets = [this.#keys.backlog(lane), this.#keys.heldBack(lane)];
    const [all = 0, heldBack = 0] = await Promise.all(sets.map((set) => this.#redis.zcard(set)));
    return { all, due: Math.max(0, all - heldBack) };
  }

  /** Queue lengths and backlogs, for metrics. */
  async backlogs(): Promise<Backlogs> {
    const models = this.#catalog.all();
    const recomputing = `${this.#keys.attestorQueue}:${RECOMPUTE_QUEUE}`;
    const cursor = (await this.#redis.hget(this.#keys.jobEnds, 'cursor')) ?? '0';
    const pipeline = this.#redis
      .pipeline()
      .zcard(this.#keys.open)
      .zcard(this.#keys.ended)
      .zcount(this.#keys.ended, `(${cursor}`, '+inf')
      .zcard(this.#keys.payments)
      .zcard(this.#keys.aside)
      .zcard(this.#keys.webhookMessages)
      .zcard(this.#keys.confirmations)
      .llen(`${recomputing}:wait`)
      .llen(`${recomputing}:active`)
      .zcard(`${recomputing}:delayed`)
      .zcard(`${recomputing}:prioritized`);
    const pools = this.#catalog.pools();
    for (const pool of pools) pipeline.xlen(this.#keys.attest(pool));
    for (const { pool, name } of models) {
      const queue = queueName(pool, name);
      for (const band of BANDS) pipeline.zcard(this.#keys.backlog(laneOf(queue, band)));
      pipeline.zcard(this.#keys.released(queue)).zcard(this.#keys.leases(queue));
    }
    // A key of a pool that its workers have spoilt counts as empty, until the attestor has made it anew.
    const [open, kept, unentered, unsettled, stuck, messages, confirming, ...more] = (
      (await pipeline.exec()) ?? []
    ).map(([error, value]) => (error === null ? Number(value) : 0));
    const rest = more.slice(RECOMPUTE_STATES);
    const [commits, sizes] = [rest.slice(0, pools.length), rest.slice(pools.length)];
    const sets = models.map(({ name: model, pool }, at) => {
      const [interactive = 0, standard = 0, batch = 0, released = 0, leased = 0] = sizes.slice(SETS_OF_A_QUEUE * at);
      return { model, pool, waiting: interactive + standard + batch + released, leased };
    });
    return {
      open: open ?? 0,
      attesting: commits.reduce((sum, length) => sum + length, 0),
      confirming: confirming ?? 0,
      kept: kept ?? 0,
      unentered: unentered ?? 0,
      unsettled: unsettled ?? 0,
      stuck: stuck ?? 0,
      messages: messages ?? 0,
      recomputing: more.slice(0, RECOMPUTE_STATES).reduce((sum, jobs) => sum + jobs, 0),
      waiting: sets.map(({ model, pool, waiting }) => ({ model, pool, jobs: waiting })),
      work: pools.map((pool, at) => ({
        pool,
        jobs: sets
          .filter((one) => one.pool === pool)
          .reduce((sum, { waiting, leased }) => sum + waiting + leased, commits[at] ?? 0),
      })),
    };
  }

  #present() {
    const now = performance.now();
    if (this.#cached !== undefined && now < this.#cached.until) return this.#cached.present;
    const both = Promise.all([
      Promise.all(this.#catalog.pools().map((pool) => this.#announcements.present({ role: 'worker', pool }))),
      this.#announcements.present({ role: 'attestor' }),
    ]);
    const cached = {
      until: now + CACHE_MS,
      present: both.then(([byPool, attestors]) => {
        const workers = byPool.flat();
        // A caller who waits for the first worker or attestor sees it soon.
        if (workers.length === 0 || attestors.length === 0) cached.until = now + CACHE_NOBODY_MS;
        return { workers, attestors };
      }),
    };
    this.#cached = cached;
    return cached.present;
  }
}

const DISK_PROBLEMS = {
  storage_full: 'the storage of blobs is full',
  storage_unavailable: 'the storage of blobs cannot be used',
} as const satisfies Record<StorageProblem, string>;

/** What keeps the workers that are there, in brackets. */
function whyPaused(workers: readonly Announcement[]): string {
  const problems = [...new Set(workers.flatMap(({ problem }) => problem ?? []))];
  return problems.length === 0 ? '' : ` (${problems.toSorted().join(', ')})`;
}

/** Which models are there and not served. */
function whyAway(workers: readonly Announcement[]): string {
  const models = [...new Set(workers.flatMap(({ away = [] }) => away.map(({ name }) => name)))];
  return models.length === 0 ? '' : ` (the engine of ${models.toSorted().join(', ')} is away or fails)`;
}

type Offered = Pick<CatalogModel, 'name' | 'pool' | 'sha256'>;

function residenceFields(
  workers: readonly Announcement[],
  model: Offered,
): Pick<ModelDocument, 'workers' | 'loaded_workers' | 'cold_ms'> {
  const said = saidOf(workers, model);
  const { loaded, coldMs } = residenceOf(said, 1);
  return {
    workers: said.length,
    loaded_workers: loaded,
    cold_ms: said.length > loaded && loaded === 0 ? coldMs : null,
  };
}

/** What each worker says that takes jobs of this model: of its own pool, whatever else it says of itself. */
function saidOf(workers: readonly Announcement[], model: Offered): ServedModel[] {
  return workers
    .filter(({ state, pool }) => state === 'consuming' && pool === model.pool)
    .flatMap(({ models }) => models.find(({ name, sha256 }) => name === model.name && sha256 === model.sha256) ?? []);
}
