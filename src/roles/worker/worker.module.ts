import { BullModule, BullRegistrar } from '@nestjs/bullmq';
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { CatalogModel } from '../../core/catalog/catalog.ts';
import { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import { RedisPieces } from '../../core/execution/chunk-stream.ts';
import { Claims } from '../../core/execution/claims.ts';
import { RedisHardware, type HardwareLink } from '../../core/execution/hardware-hand-in.ts';
import { HardwareSession } from '../../core/execution/hardware-session.ts';
import { Heartbeat } from '../../core/execution/heartbeat.ts';
import { JobRunner, MOST_AHEAD } from '../../core/execution/job-runner.ts';
import { OwnStanding } from '../../core/execution/own-standing.ts';
import { PoolConsumer, READY_FOR_EACH } from '../../core/execution/pool-consumer.processor.ts';
import { PoolConsumers } from '../../core/execution/pool-consumers.ts';
import { QueueHeads } from '../../core/execution/queue-heads.ts';
import { RunTimes } from '../../core/execution/run-times.ts';
import { GpuWatch } from '../../core/gpus/gpu-watch.ts';
import { readJoinToken, type JoinToken } from '../../core/registry/invitation.ts';
import { BlobStore } from '../../ground/blobs/blob-store.ts';
import { Storage } from '../../ground/blobs/storage.ts';
import { STORAGE_ROOM_BYTES, StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { QueuesModule } from '../../ground/bull/queues.module.ts';
import { ensureSigningKey, readSecretFile, readSigningKey } from '../../ground/keys/key-file.ts';
import { SigningKey, workerIdOf } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { userName } from '../../ground/redis/acl.ts';
import { redisAccess, redisOptions } from '../../ground/redis/connection.ts';
import { RedisKeys, queueName } from '../../ground/redis/keys.ts';
import { RedisModule } from '../../ground/redis/redis.module.ts';
import { loadEngines, slotsOf } from './own-engines.ts';
import { servedModels } from './served-models.ts';
import type { WorkerConfig } from './worker-config.ts';
import { WorkerLifecycle } from './worker-lifecycle.ts';

/** How often it is asked what waits for models that take turns. */
const DEMAND_EVERY_MS = 250;

/** One worker of a pool: its engines, its heartbeat, and a consumer for the queue of each model. */
@Module({})
export class WorkerModule {
  /** Reads the worker's files. Throws CodedErrors that say what to do. */
  static with(config: WorkerConfig, logger: Logger): DynamicModule {
    const token = joinToken(config);
    const read = token === undefined ? readSigningKey : ensureSigningKey;
    const key = read(config.COUNTERSIGN_WORKER_KEY_FILE);
    const models = servedModels(config);
    const user = userName({ role: 'worker', pool: config.COUNTERSIGN_POOL });
    return {
      module: WorkerModule,
      imports: [
        RedisModule.with(config, { user, connections: { commands: 'patient' } }, logger),
        BullModule.forRoot({
          connection: redisOptions(redisAccess(config, user), 'patient'),
          prefix: new RedisKeys(config.COUNTERSIGN_SHARD).poolQueues(config.COUNTERSIGN_POOL),
          // Nothing is taken before the heartbeat keeps what was taken.
          extraOptions: { manualRegistration: true },
        }),
        // A worker adds only what it gives back.
        QueuesModule.with({
          as: PoolQueues,
          make: (queues) => new PoolQueues(queues),
          names: models.map(({ pool, name }) => queueName(pool, name)),
          prefix: (keys) => keys.poolQueues(config.COUNTERSIGN_POOL),
          connection: 'commands',
        }),
      ],
      providers: [
        { provide: SigningKey, useValue: key },
        { provide: BlobStore, useFactory: () => new Storage(config).blobs(config.COUNTERSIGN_BLOBS) },
        // After Redis: a worker whose Redis is away says so before it loads gigabytes.
        { provide: LoadedEngines, useFactory: (_redis: Redis) => loadEngines(config, models, logger), inject: [Redis] },
        ...runnerProviders(config, models, key, logger),
        ...consumerProviders(config, models, logger),
        ...conditionProviders(config, models, key, logger),
        lifecycleProvider(config, models, { key, token }, logger),
      ],
    };
  }
}

function runnerProviders(
  config: WorkerConfig,
  models: readonly CatalogModel[],
  key: SigningKey,
  logger: Logger,
): Provider[] {
  const worker = workerIdOf(key.public);
  return [
    {
      provide: Heartbeat,
      // After the engines: what is announced is loaded.
      useFactory: (_engines: LoadedEngines) =>
        new Heartbeat({
          access: redisAccess(config, userName({ role: 'worker', pool: config.COUNTERSIGN_POOL })),
          shard: config.COUNTERSIGN_SHARD,
          pool: config.COUNTERSIGN_POOL,
          leaseMs: config.COUNTERSIGN_LEASE_MS,
          heartbeatMs: config.COUNTERSIGN_HEARTBEAT_MS,
          stallMs: config.COUNTERSIGN_STALL_MS,
          logLevel: config.COUNTERSIGN_LOG_LEVEL,
          keyFile: config.COUNTERSIGN_WORKER_KEY_FILE,
          worker,
          mostHeld: models.reduce((sum, model) => sum + MOST_AHEAD * (1 + READY_FOR_EACH) * slotsOf(config, model), 0),
        }),
      inject: [LoadedEngines],
    },
    {
      provide: Claims,
      useFactory: (redis: Redis, keys: RedisKeys) => new Claims(redis, keys, worker, config.COUNTERSIGN_LEASE_MS),
      inject: [Redis, RedisKeys],
    },
    {
      provide: JobRunner,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        claims: Claims,
        blobs: BlobStore,
        storage: StorageProbe,
        heartbeat: Heartbeat,
        engines: LoadedEngines,
      ) => {
        const pieces = new RedisPieces(redis, keys, config.COUNTERSIGN_POOL, worker);
        return new JobRunner({
          claims,
          pieces,
          blobs,
          storage,
          heartbeat,
          engines,
          times: new RunTimes(),
          key,
          logger,
        });
      },
      inject: [Redis, RedisKeys, Claims, BlobStore, StorageProbe, Heartbeat, LoadedEngines],
    },
  ];
}

/** Whether this worker may and can work, and on what hardware. */
function conditionProviders(
  config: WorkerConfig,
  models: readonly CatalogModel[],
  key: SigningKey,
  logger: Logger,
): Provider[] {
  const worker = workerIdOf(key.public);
  return [
    {
      provide: StorageProbe,
      useFactory: (blobs: BlobStore) => new StorageProbe({ stores: [blobs], roomBytes: STORAGE_ROOM_BYTES, logger }),
      inject: [BlobStore],
    },
    {
      provide: OwnStanding,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new OwnStanding({ redis, keys, pool: config.COUNTERSIGN_POOL, worker, logger }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: HardwareSession,
      useFactory: (redis: Redis, keys: RedisKeys) => {
        const command = config.COUNTERSIGN_TEE_COMMAND;
        return command === undefined
          ? undefined
          : new HardwareSession({
              link: hardwareLink(new RedisHardware(redis, keys, config.COUNTERSIGN_POOL), worker),
              key,
              models,
              command,
              logger,
            });
      },
      inject: [Redis, RedisKeys],
    },
  ];
}

function hardwareLink(hardware: RedisHardware, worker: string): HardwareLink {
  return { newest: () => hardware.newest(), handIn: (stored) => hardware.handIn(worker, stored) };
}

/** What invites this worker, if anything does: then its key may be new. */
function joinToken({ COUNTERSIGN_JOIN_TOKEN_FILE: file }: WorkerConfig): JoinToken | undefined {
  return file === undefined ? undefined : readJoinToken(readSecretFile(file).reveal());
}

function lifecycleProvider(
  config: WorkerConfig,
  models: readonly CatalogModel[],
  own: { readonly key: SigningKey; readonly token: JoinToken | undefined },
  logger: Logger,
): Provider {
  const slots = new Map(models.map((model) => [model.name, slotsOf(config, model)]));
  return {
    provide: WorkerLifecycle,
    useFactory: (
      engines: LoadedEngines,
      heartbeat: Heartbeat,
      runner: JobRunner,
      consumers: PoolConsumers,
      standing: OwnStanding,
      storage: StorageProbe,
      hardware: HardwareSession | undefined,
      redis: Redis,
      keys: RedisKeys,
    ) =>
      new WorkerLifecycle({
        engines,
        heartbeat,
        runner,
        consumers,
        standing,
        storage,
        hardware,
        gpus: new GpuWatch(),
        slotsOf: (model) => slots.get(model) ?? 1,
        demand: new QueueHeads(redis, keys, config.COUNTERSIGN_POOL),
        demandEveryMs: DEMAND_EVERY_MS,
        ...own,
        config,
        logger,
      }),
    inject: [
      LoadedEngines,
      Heartbeat,
      JobRunner,
      PoolConsumers,
      OwnStanding,
      StorageProbe,
      HardwareSession,
      Redis,
      RedisKeys,
    ],
  };
}

/** A consumer for the queue of each model; Nest finds them among its providers. */
function consumerProviders(config: WorkerConfig, models: readonly CatalogModel[], logger: Logger): Provider[] {
  const consumers = models.map((model) => ({
    provide: Symbol(`PoolConsumer of ${model.name}`),
    useFactory: (runner: JobRunner, engines: LoadedEngines, queues: PoolQueues) =>
      PoolConsumer.of(model, slotsOf(config, model), { runner, engines, queues, logger }),
    inject: [JobRunner, LoadedEngines, PoolQueues],
  }));
  return [
    ...consumers,
    {
      provide: PoolConsumers,
      useFactory: (registrar: BullRegistrar, ...all: PoolConsumer[]) =>
        new PoolConsumers(all, () => registrar.register()),
      inject: [BullRegistrar, ...consumers.map(({ provide }) => provide)],
    },
  ];
}
