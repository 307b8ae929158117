import type { BeforeApplicationShutdown } from '@nestjs/common';
import type { Redis } from 'ioredis';
import { BlobStore } from '../../ground/blobs/blob-store.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import type { Engine } from '../../core/engines/engine.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import { workerIdOf } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { type Announcement } from '../../core/catalog/announcement.ts';
import { announcedModel } from '../../core/catalog/announced-models.ts';
import { readCatalog, type CatalogModel } from '../../core/catalog/catalog.ts';
import { openRedis, redisAccess, whenReady } from '../../ground/redis/connection.ts';
import { requireFitRedis } from '../../ground/redis/requirements.ts';
import { Claims } from '../../core/execution/claims.ts';
import { Heartbeat } from '../../core/execution/heartbeat.ts';
import { HardwareSession } from '../../core/execution/hardware-session.ts';
import { JobRunner } from '../../core/execution/job-runner.ts';
import { PoolConsumer } from '../../core/execution/pool-consumer.processor.ts';
import type { WorkerConfig } from './worker-config.ts';

const REDIS_START_MS = 10_000;
const CLOSE_MS = 3_000;

/** One worker: engines proven, Redis found fit, heartbeat beating, queues consumed. */
export class WorkerProcess implements BeforeApplicationShutdown {
  readonly #redis: Redis;
  readonly #engines: Engine[];
  readonly #consumers: PoolConsumer[];
  readonly #heartbeat: Heartbeat;
  readonly #runner: JobRunner;
  readonly #announcement: Announcement;
  readonly #hardware: HardwareSession | undefined;
  readonly #drainMs: number;

  private constructor(parts: {
    redis: Redis;
    engines: Engine[];
    consumers: PoolConsumer[];
    heartbeat: Heartbeat;
    runner: JobRunner;
    announcement: Announcement;
    hardware: HardwareSession | undefined;
    drainMs: number;
  }) {
    this.#redis = parts.redis;
    this.#engines = parts.engines;
    this.#consumers = parts.consumers;
    this.#heartbeat = parts.heartbeat;
    this.#runner = parts.runner;
    this.#announcement = parts.announcement;
    this.#hardware = parts.hardware;
    this.#drainMs = parts.drainMs;
  }

  static async start(config: WorkerConfig, logger: Logger): Promise<WorkerProcess> {
    const key = readSigningKey(config.COUNTERSIGN_WORKER_KEY_FILE);
    const id = workerIdOf(key.public);
    const keys = new RedisKeys(config.COUNTERSIGN_SHARD);
    const models = wantedModels(config);
    const access = redisAccess(config, 'worker');
    const redis = openRedis(access, 'patient', logger);
    try {
      await whenReady(redis, REDIS_START_MS);
      await requireFitRedis(redis, 'worker');
    } catch (cause) {
      redis.disconnect();
      if (cause instanceof CodedError) throw cause;
      throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, { cause });
    }

    const engines = await Promise.all(models.map((model) => loadEngine(model)));

    const concurrencyOf = (engine: Engine) => config.COUNTERSIGN_CONCURRENCY ?? engine.parallel;
    const runnerRef: { current?: JobRunner } = {};
    const heartbeat = new Heartbeat(
      {
        access,
        shard: config.COUNTERSIGN_SHARD,
        leaseMs: config.COUNTERSIGN_LEASE_MS,
        heartbeatMs: config.COUNTERSIGN_HEARTBEAT_MS,
        stallMs: config.COUNTERSIGN_STALL_MS,
        logLevel: config.COUNTERSIGN_LOG_LEVEL,
        keyFile: config.COUNTERSIGN_WORKER_KEY_FILE,
        worker: id,
        parallel: engines.reduce((sum, engine) => sum + concurrencyOf(engine), 0),
      },
      {
        lost: (job, lease) => runnerRef.current?.stop(job, 'lease_lost', lease),
        cancelled: (job) => runnerRef.current?.stop(job, 'cancelled'),
        died: (error) => {
          logger.fatal(`the heartbeat died: ${messageOf(error)}`);
          process.exit(1);
        },
      },
    );
    const claims = new Claims(redis, keys, id, config.COUNTERSIGN_LEASE_MS);
    const runner = new JobRunner({
      redis,
      keys,
      claims,
      blobs: new BlobStore(config.COUNTERSIGN_BLOBS),
      heartbeat,
      key,
      logger,
    });
    runnerRef.current = runner;
    const consumers = engines.map(
      (engine) =>
        new PoolConsumer({
          access,
          keys,
          pool: config.COUNTERSIGN_POOL,
          engine,
          concurrency: concurrencyOf(engine),
          runner,
          logger,
        }),
    );
    await Promise.all(consumers.map((consumer) => consumer.whenConsuming()));
    const announcement: Announcement = {
      id,
      role: 'worker',
      pool: config.COUNTERSIGN_POOL,
      publicKey: key.public.raw,
      startedAt: new Date().toISOString(),
      models: engines.map(announcedModel),
      state: 'consuming',
      inFlight: 0,
    };
    heartbeat.announce(announcement);
    const command = config.COUNTERSIGN_TEE_COMMAND;
    const hardware =
      command === undefined
        ? undefined
        : new HardwareSession({ redis, keys, key: key.public, engines, command, logger });
    hardware?.start();
    logger.info({ worker: id, models: models.map((model) => model.name) }, 'worker consuming');
    return new WorkerProcess({
      redis,
      engines,
      consumers,
      heartbeat,
      runner,
      announcement,
      hardware,
      drainMs: config.COUNTERSIGN_DRAIN_MS,
    });
  }

  /** Takes nothing new, lets running jobs finish for a while, gives the rest back, and leaves. */
  async beforeApplicationShutdown(): Promise<void> {
    this.#heartbeat.announce({ ...this.#announcement, state: 'draining' });
    await Promise.race([Promise.all(this.#consumers.map((consumer) => consumer.pause())), pause(CLOSE_MS)]);
    const until = performance.now() + this.#drainMs;
    while (this.#runner.inFlight > 0 && performance.now() < until) await pause(20);
    this.#runner.stopAll('drained');
    const forced = performance.now() + CLOSE_MS;
    while (this.#runner.inFlight > 0 && performance.now() < forced) await pause(20);
    await Promise.all(this.#consumers.map((consumer) => consumer.close(CLOSE_MS)));
    await this.#hardware?.stop();
    await this.#heartbeat.stop();
    await Promise.all(this.#engines.map((engine) => engine.close()));
    this.#redis.disconnect();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function wantedModels(config: WorkerConfig): CatalogModel[] {
  const inPool = readCatalog(config.COUNTERSIGN_CATALOG)
    .all()
    .filter((model) => model.pool === config.COUNTERSIGN_POOL);
  const names = config.COUNTERSIGN_MODELS?.split(',').map((name) => name.trim());
  const unknown = names?.find((name) => !inPool.some((model) => model.name === name));
  if (unknown !== undefined) {
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_MODELS names ${unknown}, which the catalog does not have in the pool ${config.COUNTERSIGN_POOL}.`,
    );
  }
  const models = names === undefined ? inPool : inPool.filter((model) => names.includes(model.name));
  if (models.length === 0)
    throw new CodedError('config_invalid', `The catalog has no model in the pool ${config.COUNTERSIGN_POOL}.`);
  return models;
}
