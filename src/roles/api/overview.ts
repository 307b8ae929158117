import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { Announcement } from '../../core/catalog/announcement.ts';
import { Catalog } from '../../core/catalog/catalog.ts';
import { lanesOf } from '../../core/backlog/bands.ts';
import { Pools } from '../../core/backlog/pool.store.ts';
import { predictedWaitMs } from '../../core/backlog/predicted-wait.ts';
import { JobReader, verdictOf, type JobView } from '../../core/jobs/job.reader.ts';
import { StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { RedisKeys, queueName } from '../../ground/redis/keys.ts';
import { StorageGate } from '../../ground/redis/storage-gate.ts';
import { howConfirmed } from '../../proof/receipts/how-confirmed.ts';
import { attentionOf } from '../../surfaces/dashboard/attention.ts';
import { Tallies } from '../../surfaces/dashboard/tallies.ts';
import { COUNTERS } from '../../surfaces/dashboard/tally.ts';
import { Directory } from './directory.ts';
import type { QueueRow, Tick, VerdictRow, WorkerRow } from './overview.schemas.ts';

const MAX_VERDICTS = 10;

/**
 * The installation at one moment, from lengths of sets and from what workers announce: the cost does not
 * follow how much waits or has ended. Any number of calls may run at once; the live feed makes one a second
 * for all who look.
 */
@Injectable()
export class Overviews {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #catalog: Catalog;
  readonly #directory: Directory;
  readonly #pools: Pools;
  readonly #reader: JobReader;
  readonly #tallies: Tallies;
  readonly #gate: StorageGate;
  readonly #disk: StorageProbe;

  constructor(
    redis: Redis,
    keys: RedisKeys,
    catalog: Catalog,
    directory: Directory,
    pools: Pools,
    reader: JobReader,
    tallies: Tallies,
    gate: StorageGate,
    disk: StorageProbe,
  ) {
    this.#redis = redis;
    this.#keys = keys;
    this.#catalog = catalog;
    this.#directory = directory;
    this.#pools = pools;
    this.#reader = reader;
    this.#tallies = tallies;
    this.#gate = gate;
    this.#disk = disk;
  }

  async look(): Promise<{ tick: Tick; workers: WorkerRow[] }> {
    const [present, backlogs, pools, rates, failingWebhooks, isStorageFull, queues] = await Promise.all([
      this.#directory.workers(),
      this.#directory.backlogs(),
      this.#pools.list(),
      this.#tallies.rates(COUNTERS),
      this.#redis.hlen(this.#keys.webhookHealth),
      this.#gate.isFull(),
      Promise.all(this.#catalog.all().map((model) => this.#queueRow(model))),
    ]);
    const workers = present.workers.map(workerRow);
    const attestors = present.attestors.map(({ id, problem = null }) => ({ id, problem }));
    const { open, attesting, recomputing, stuck } = backlogs;
    const attention = attentionOf({
      workers,
      attestors,
      quarantined: present.quarantined,
      pools,
      queues: queues.map(({ next_waited_ms, predicted_ms, ...row }) => ({
        ...row,
        nextWaitedMs: next_waited_ms,
        predictedMs: predicted_ms,
      })),
      stuck,
      attesting,
      failingWebhooks,
      isStorageFull,
      diskProblem: this.#disk.problem ?? null,
    });
    const tick: Tick = {
      at: new Date().toISOString(),
      per_second: rates,
      open,
      confirming: attesting + recomputing,
      stuck,
      queues,
      pools: pools.map(({ name, state, waiting }) => ({ name, state, waiting })),
      attestors,
      attention,
    };
    return { tick, workers };
  }

  /**
   * The newest ends after a place in their order, the newest first, and the place of the newest. Of more than
   * ten the others are left out: who wants all of them reads the events.
   */
  async verdicts(after: string): Promise<{ verdicts: VerdictRow[]; last: string }> {
    const found = await this.#redis.zrevrangebyscore(
      this.#keys.ended,
      '+inf',
      `(${after}`,
      'WITHSCORES',
      'LIMIT',
      0,
      MAX_VERDICTS,
    );
    const ids = found.filter((_, at) => at % 2 === 0);
    const views = await Promise.all(ids.map((id) => this.#reader.read(id).catch(() => undefined)));
    return { verdicts: views.flatMap((view) => (view === undefined ? [] : verdictRow(view))), last: found[1] ?? after };
  }

  async #queueRow(model: ReturnType<Catalog['all']>[number]): Promise<QueueRow> {
    const queue = queueName(model.pool, model.name);
    const [figures, ...heads] = await Promise.all([
      this.#directory.queueOf(model),
      ...lanesOf(queue).map((lane) => this.#redis.zrange(this.#keys.backlog(lane), '0', '0')),
    ]);
    const next = await Promise.all(heads.flat().map((id) => this.#reader.read(id)));
    const sinceMs = next.flatMap((view) => (view === undefined ? [] : [view.createdMs]));
    return {
      model: model.name,
      pool: model.pool,
      waiting: figures.waiting,
      running: figures.running,
      slots: figures.slots,
      next_waited_ms: sinceMs.length === 0 ? null : Math.max(0, Date.now() - Math.min(...sinceMs)),
      predicted_ms: predictedWaitMs(figures, 'standard') ?? null,
    };
  }
}

/** A worker as the grid shows it. */
function workerRow(worker: Announcement): WorkerRow {
  const { id, pool = '', state, problem = null, inFlight, models, away = [], startedAt } = worker;
  return {
    id,
    pool,
    state,
    problem,
    in_flight: inFlight,
    slots: models.reduce((most, { slots = 1 }) => Math.max(most, slots), 0),
    models: models.map(({ name }) => name),
    resting: models.filter(({ loaded }) => loaded === false).map(({ name }) => name),
    away: away.map(({ name }) => name),
    free_memory_bytes: worker.freeMemoryBytes ?? null,
    gpus: (worker.gpus ?? []).map((gpu) => ({
      place: gpu.place,
      name: gpu.name,
      memory_bytes: gpu.memoryBytes ?? null,
      free_bytes: gpu.freeBytes ?? null,
      busy_percent: gpu.busyPercent ?? null,
      celsius: gpu.celsius ?? null,
      uncorrected_errors: gpu.uncorrectedErrors ?? null,
    })),
    started_at: startedAt,
  };
}

function verdictRow(view: JobView): VerdictRow[] {
  const { id: job, tenant, model, state, ending } = view;
  if (ending === undefined) return [];
  const { confirmed_by } = howConfirmed(state === 'done' ? verdictOf(view) : undefined);
  return [
    {
      job,
      tenant,
      model,
      state,
      at: new Date(ending.atMs).toISOString(),
      how: confirmed_by ?? [],
      detail: state === 'done' ? '' : ending.detail,
    },
  ];
}
