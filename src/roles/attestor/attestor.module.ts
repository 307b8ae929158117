import { BullModule, BullRegistrar } from '@nestjs/bullmq';
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Equipment } from '../../core/attestation/methods/equipment.ts';
import { Collateral, readCollateralSources } from '../../core/attestation/tee/tee-collateral.ts';
import { AuditDraws } from '../../core/confirmation/audit-draws.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { HardwareSessions } from '../../core/confirmation/hardware-sessions.ts';
import { Decisions } from '../../core/confirmation/decisions.ts';
import { Intakes } from '../../core/confirmation/intakes.ts';
import { Judge } from '../../core/confirmation/judge.ts';
import { PoolKeeper } from '../../core/confirmation/pool-keeper.ts';
import { RECOMPUTE_DELIVERY, RECOMPUTE_QUEUE, RecomputeQueue } from '../../core/confirmation/recompute-queue.ts';
import { RecomputeProcessor } from '../../core/confirmation/recompute.processor.ts';
import { Rulings } from '../../core/confirmation/rulings.ts';
import { Sequencer } from '../../core/confirmation/sequencer.ts';
import { Strays } from '../../core/confirmation/strays.ts';
import { Suspicions } from '../../core/confirmation/suspicions.ts';
import { Sweep } from '../../core/confirmation/sweep.ts';
import { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { FairQueuesModule } from '../../ground/bull/fair-queues.module.ts';
import { PoolQueues } from '../../ground/bull/fair-queues.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { redisAccess, redisOptions } from '../../ground/redis/connection.ts';
import { RedisConnections } from '../../ground/redis/connections.ts';
import { durabilityLevel } from '../../ground/redis/durability.ts';
import { RedisKeys, poolOfQueue } from '../../ground/redis/keys.ts';
import { RedisModule } from '../../ground/redis/redis.module.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { WitnessClient } from '../../proof/tlog/witness-client.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { AttestorFiles } from './attestor-files.ts';
import { AttestorLifecycle, MAX_OPEN_MS } from './attestor-lifecycle.ts';
import { AttestorPresence } from './attestor-presence.ts';
import { loadReferences } from './reference-models.ts';

/** One attestor. Any number may run; they share the work and cannot contradict each other. */
@Module({})
export class AttestorModule {
  /** Reads the attestor's files. Throws CodedErrors that say what to do. */
  static with(config: AttestorConfig, logger: Logger): DynamicModule {
    const files = new AttestorFiles(config);
    const id = `a-${files.signingKey.public.id.slice(0, 16)}-${freshRandom(4).toString('hex')}`;
    return {
      module: AttestorModule,
      imports: queueModules(config, files, logger),
      providers: [
        { provide: BlobFolders, useFactory: () => new BlobFolders(config.COUNTERSIGN_BLOBS) },
        // After Redis: an attestor whose Redis is away says so before it loads gigabytes.
        {
          provide: LoadedEngines,
          useFactory: (_redis: Redis) => loadReferences(files.catalog, config.COUNTERSIGN_RECOMPUTE_MODELS),
          inject: [Redis],
        },
        ...logProviders(config, files, logger),
        ...judgeProviders(config, files, logger),
        ...intakeProviders(config, files, id, logger),
        ...keepingProviders(config, files, logger),
        presenceProvider(files, id),
        lifecycleProvider(config, files, id, logger),
      ],
    };
  }
}

function queueModules(config: AttestorConfig, files: AttestorFiles, logger: Logger): DynamicModule[] {
  return [
    RedisModule.with(
      config,
      {
        user: 'attestor',
        // Redis takes some 20 KB of each connection before it syncs its file: what the log writes has its
        // own.
        connections: { commands: 'patient', wakes: 'patient', log: 'patient' },
        durability: durabilityLevel(config.COUNTERSIGN_DURABILITY),
      },
      logger,
    ),
    // The lifecycle registers the consumer when everything that it needs has been started.
    BullModule.forRoot({
      connection: redisOptions(redisAccess(config, 'attestor'), 'patient'),
      extraOptions: { manualRegistration: true },
    }),
    FairQueuesModule.with({
      as: PoolQueues,
      names: files.catalog.queues(),
      prefix: (keys, name) => keys.poolQueues(poolOfQueue(name)),
      connection: 'commands',
    }),
    FairQueuesModule.with({
      as: RecomputeQueue,
      names: [RECOMPUTE_QUEUE],
      prefix: (keys) => keys.attestorQueue,
      connection: 'commands',
      deliveries: RECOMPUTE_DELIVERY,
    }),
  ];
}

function logProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  return [
    {
      provide: Sequencer,
      useFactory: (connections: RedisConnections, keys: RedisKeys) =>
        new Sequencer({
          redis: connections.named('log'),
          keys,
          files: new LogFiles(config.COUNTERSIGN_TLOG),
          key: files.logKey,
          origin: files.logOrigin,
          trusted: files.keyring.logPolicy.logs.map(({ key }) => key),
          witnesses: new WitnessClient(files.keyring.logPolicy),
          keepMs: config.COUNTERSIGN_KEEP_MS + MAX_OPEN_MS,
          logger,
        }),
      inject: [RedisConnections, RedisKeys],
    },
    {
      provide: EnrolledWorkers,
      useFactory: (redis: Redis, keys: RedisKeys, sequencer: Sequencer) =>
        new EnrolledWorkers({
          path: config.COUNTERSIGN_ENROLLED_WORKERS,
          signers: files.keyring.of('registry'),
          redis,
          keys,
          record: (keyId, payload) => sequencer.logDocument('workers', keyId, payload),
          logger,
        }),
      inject: [Redis, RedisKeys, Sequencer],
    },
    { provide: AuditDraws, useValue: new AuditDraws(files.logKey) },
  ];
}

function judgeProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  const { signingKey, keyring, catalog, calibrations } = files;
  return [
    {
      provide: HardwareSessions,
      useFactory: (redis: Redis, keys: RedisKeys, blobs: BlobFolders, enrolled: EnrolledWorkers) =>
        files.tee &&
        new HardwareSessions({
          redis,
          keys,
          pools: catalog.pools(),
          policy: files.tee.policy,
          collateral: collateral(config),
          blobs: blobs.kept,
          keyOf: (worker) => {
            const key = enrolled.find(worker, Date.now());
            return typeof key === 'string' ? undefined : key;
          },
          logger,
        }),
      inject: [Redis, RedisKeys, BlobFolders, EnrolledWorkers],
    },
    {
      provide: Equipment,
      useFactory: ({ byName: engines }: LoadedEngines, hardware: HardwareSessions | undefined) =>
        new Equipment({ engines, calibrations, hardware, auditShare: config.COUNTERSIGN_AUDIT_SHARE }),
      inject: [LoadedEngines, HardwareSessions],
    },
    {
      provide: Suspicions,
      useFactory: (redis: Redis, keys: RedisKeys) => new Suspicions(redis, keys, logger),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Judge,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        blobs: BlobFolders,
        enrolled: EnrolledWorkers,
        equipment: Equipment,
        draws: AuditDraws,
        suspicions: Suspicions,
      ) =>
        new Judge({
          redis,
          keys,
          blobs,
          signingKey,
          keyring,
          enrolled,
          catalog,
          equipment,
          draws,
          suspicions,
        }),
      inject: [Redis, RedisKeys, BlobFolders, EnrolledWorkers, Equipment, AuditDraws, Suspicions],
    },
  ];
}

function collateral({ COUNTERSIGN_TEE_COLLATERAL: path }: AttestorConfig): Collateral {
  return new Collateral(path === undefined ? { version: 1 } : readCollateralSources(path));
}

function intakeProviders(config: AttestorConfig, files: AttestorFiles, id: string, logger: Logger): Provider[] {
  return [
    Rulings,
    {
      provide: Decisions,
      useFactory: (judge: Judge, rulings: Rulings, sequencer: Sequencer, recomputations: RecomputeQueue) =>
        new Decisions({ judge, rulings, sequencer, recomputations, logger }),
      inject: [Judge, Rulings, Sequencer, RecomputeQueue],
    },
    {
      provide: Intakes,
      useFactory: (
        redis: Redis,
        connections: RedisConnections,
        keys: RedisKeys,
        decisions: Decisions,
        enrolled: EnrolledWorkers,
      ) =>
        new Intakes({
          redis,
          wakes: connections.named('wakes'),
          keys,
          pools: files.catalog.pools(),
          decisions,
          enrolled,
          consumer: id,
          logger,
        }),
      inject: [Redis, RedisConnections, RedisKeys, Decisions, EnrolledWorkers],
    },
    {
      provide: RecomputeProcessor,
      // Without an engine nothing is computed again here.
      useFactory: (engines: LoadedEngines, redis: Redis, keys: RedisKeys, judge: Judge, decisions: Decisions) =>
        engines.all().length === 0
          ? undefined
          : RecomputeProcessor.with(
              { ...redisOptions(redisAccess(config, 'attestor'), 'patient') },
              config.COUNTERSIGN_RECOMPUTE_CONCURRENCY,
              { redis, keys, judge, decisions, logger },
            ),
      inject: [LoadedEngines, Redis, RedisKeys, Judge, Decisions],
    },
  ];
}

/** What finds and mends what was lost or spoilt. */
function keepingProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  return [
    {
      provide: PoolKeeper,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new PoolKeeper({ redis, keys, pools: files.catalog.pools(), queues: files.catalog.queues(), logger }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Strays,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new Strays({ redis, keys, pools: files.catalog.pools(), queues: files.catalog.queues(), logger }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Sweep,
      useFactory: (redis: Redis, keys: RedisKeys, queues: PoolQueues, decisions: Decisions) =>
        new Sweep({
          redis,
          keys,
          queues,
          decisions,
          everyMs: config.COUNTERSIGN_SWEEP_MS,
          keepMs: config.COUNTERSIGN_KEEP_MS,
          keepJobs: config.COUNTERSIGN_KEEP_JOBS,
          logger,
        }),
      inject: [Redis, RedisKeys, PoolQueues, Decisions],
    },
  ];
}

function presenceProvider(files: AttestorFiles, id: string): Provider {
  return {
    provide: AttestorPresence,
    useFactory: (redis: Redis, keys: RedisKeys, equipment: Equipment, sequencer: Sequencer) =>
      new AttestorPresence({ redis, keys, id, catalog: files.catalog, equipment, sequencer }),
    inject: [Redis, RedisKeys, Equipment, Sequencer],
  };
}

function lifecycleProvider(config: AttestorConfig, files: AttestorFiles, id: string, logger: Logger): Provider {
  return {
    provide: AttestorLifecycle,
    useFactory: (
      redis: Redis,
      keys: RedisKeys,
      blobs: BlobFolders,
      engines: LoadedEngines,
      sequencer: Sequencer,
      enrolled: EnrolledWorkers,
      draws: AuditDraws,
      hardware: HardwareSessions | undefined,
      intakes: Intakes,
      sweep: Sweep,
      keeper: PoolKeeper,
      strays: Strays,
      processor: RecomputeProcessor | undefined,
      presence: AttestorPresence,
      registrar: BullRegistrar,
    ) =>
      new AttestorLifecycle({
        redis,
        keys,
        blobs,
        engines,
        sequencer,
        enrolled,
        draws,
        hardware,
        intakes,
        sweep,
        keeper,
        strays,
        processor,
        presence,
        registrar,
        id,
        config,
        files,
        logger,
      }),
    inject: [
      Redis,
      RedisKeys,
      BlobFolders,
      LoadedEngines,
      Sequencer,
      EnrolledWorkers,
      AuditDraws,
      HardwareSessions,
      Intakes,
      Sweep,
      PoolKeeper,
      Strays,
      RecomputeProcessor,
      AttestorPresence,
      BullRegistrar,
    ],
  };
}
