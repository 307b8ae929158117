import { Redis } from 'ioredis';
import { Jobs } from '../../core/jobs/jobs.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { Batches, isOver } from '../batches/batch.store.ts';
import { WorkStops, type WorkStop } from '../tenants/work-stops.ts';

const LOOK_EVERY_MS = 500;
const RETRY_MS = 1_000;
/** Open jobs that are looked at in one step. */
const PAGE = 200;
/** Longer than a request can be on its way that was authenticated before the key ended. */
const SETTLED_MS = 10_000;

/**
 * Drains or stops the open work of keys that were revoked and of tenants that were disabled. Each step can be
 * done twice, so any number of couriers may do it at once, and one that dies leaves the rest to the next.
 */
export class WorkStopper {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #jobs: Jobs;
  readonly #batches: Batches;
  readonly #stops: WorkStops;
  readonly #task: PeriodicTask;

  constructor(
    parts: { redis: Redis; keys: RedisKeys; jobs: Jobs; batches: Batches; stops: WorkStops },
    logger: Logger,
  ) {
    this.#redis = parts.redis;
    this.#keys = parts.keys;
    this.#jobs = parts.jobs;
    this.#batches = parts.batches;
    this.#stops = parts.stops;
    this.#task = new PeriodicTask(
      () => this.#look(),
      (err) => logger.warn({ err }, 'open work could not be stopped; it is tried again'),
      RETRY_MS,
    );
  }

  start(): void {
    this.#task.start();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #look(): Promise<number> {
    for (const stop of await this.#stops.list()) await this.carryOut(stop);
    return LOOK_EVERY_MS;
  }

  /** One pass over the open work. The wish goes with the pass that began when nothing more could arrive. */
  async carryOut(stop: WorkStop): Promise<void> {
    const isLast = Date.now() - stop.sinceMs > SETTLED_MS;
    await this.#cancelBatches(stop);
    if (stop.work === 'stop') await this.#cancelJobs(stop);
    if (isLast) await this.#stops.carriedOut(stop);
  }

  async #cancelBatches({ tenant, keyId }: WorkStop): Promise<void> {
    for (const id of await this.#batches.open()) {
      const batch = await this.#batches.read(id);
      const isMeant = batch?.tenant === tenant && (keyId === undefined || batch.keyId === keyId);
      if (isMeant && batch.status !== 'cancelling' && !isOver(batch.status))
        await this.#batches.move(id, 'cancelling', { stop: keyId === undefined ? 'disabled' : 'revoked' });
    }
  }

  /**
   * From the newest to the oldest, by rank: what ends meanwhile only moves what is still ahead nearer, so
   * that nothing is passed over.
   */
  async #cancelJobs(stop: WorkStop): Promise<void> {
    const index = this.#keys.openOf(stop.tenant);
    for (let end = await this.#redis.zcard(index); end > 0; end -= PAGE) {
      const page = await this.#redis.zrange(index, String(Math.max(0, end - PAGE)), String(end - 1));
      const meant = await this.#meant(stop, page);
      await Promise.all(meant.map((id) => this.#cancel(stop.tenant, id)));
    }
  }

  /** Those of these jobs that the key made and whose cancellation nobody has asked for yet. */
  async #meant({ keyId }: WorkStop, ids: readonly string[]): Promise<string[]> {
    const notes = await Promise.all(
      ids.map(async (id) => ({
        id,
        madeBy: keyId === undefined ? undefined : await this.#redis.hget(this.#keys.job(id), 'key'),
        askedMs: await this.#redis.hget(this.#keys.ticket(id), 'cancel'),
      })),
    );
    return notes.flatMap(({ id, madeBy, askedMs }) =>
      askedMs === null && (keyId === undefined || madeBy === keyId) ? [id] : [],
    );
  }

  async #cancel(tenant: string, id: string): Promise<void> {
    await this.#jobs.cancel(tenant, id).catch((error: unknown) => {
      if (!(error instanceof CodedError) || error.code !== 'job_not_found') throw error;
    });
  }
}
