import { BullModule, BullRegistrar } from '@nestjs/bullmq';
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Equipment } from '../../core/attestation/methods/equipment.ts';
import { Collateral, readCollateralSources } from '../../core/attestation/tee/tee-collateral.ts';
import { Aside } from '../../core/confirmation/aside.ts';
import { AsideSchedule } from '../../core/confirmation/aside-schedule.ts';
import { Backlog } from '../../core/backlog/backlog.ts';
import { Schedules } from '../../core/backlog/schedules.ts';
import { AuditDraws } from '../../core/confirmation/audit-draws.ts';
import { Candidates } from '../../core/confirmation/candidates.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { HardwareSessions } from '../../core/confirmation/hardware-sessions.ts';
import { Decisions } from '../../core/confirmation/decisions.ts';
import { Eraser } from '../../core/confirmation/eraser.ts';
import { LogRequests } from '../../core/confirmation/log-requests.ts';
import { Intakes } from '../../core/confirmation/intakes.ts';
import { Judge } from '../../core/confirmation/judge.ts';
import { PoolKeeper } from '../../core/confirmation/pool-keeper.ts';
import { RECOMPUTE_DELIVERY, RECOMPUTE_QUEUE, RecomputeQueue } from '../../core/confirmation/recompute-queue.ts';
import { RecomputeProcessor } from '../../core/confirmation/recompute.processor.ts';
import { Rulings } from '../../core/confirmation/rulings.ts';
import { recoverLog } from '../../core/confirmation/log-recovery.ts';
import { Retention } from '../../core/confirmation/retention.ts';
import { Sealer } from '../../core/confirmation/sealer.ts';
import { Sequencer } from '../../core/confirmation/sequencer.ts';
import { Learner } from '../../core/confirmation/learner.ts';
import { ServiceTimes } from '../../core/confirmation/service-times.ts';
import { BarredWorkers } from '../../core/confirmation/barred-workers.ts';
import { Slots } from '../../core/confirmation/slots.ts';
import { Strays } from '../../core/confirmation/strays.ts';
import { AuditKeeper } from '../../core/confirmation/audit-keeper.ts';
import { AuditFiles, auditFolder } from '../../core/audit/audit-files.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { Suspicions } from '../../core/confirmation/suspicions.ts';
import { Sweep } from '../../core/confirmation/sweep.ts';
import { JobArchive, archiveFolder } from '../../core/jobs/job-archive.ts';
import { EngineChildren } from '../../core/engines/engine-children.ts';
import { STORAGE_ROOM_BYTES, StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { BlobFolders, keptFolder } from '../../ground/blobs/blob-folders.ts';
import { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { QueuesModule } from '../../ground/bull/queues.module.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { redisAccess, redisOptions } from '../../ground/redis/connection.ts';
import { RedisConnections } from '../../ground/redis/connections.ts';
import { Durability, durabilityLevel } from '../../ground/redis/durability.ts';
import { RedisKeys, poolOfQueue } from '../../ground/redis/keys.ts';
import { RedisModule } from '../../ground/redis/redis.module.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { WitnessClient } from '../../proof/tlog/witness-client.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { AttestorFiles } from './attestor-files.ts';
import { AttestorKeepers } from './attestor-keepers.ts';
import { AttestorLifecycle } from './attestor-lifecycle.ts';
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
          provide: EngineChildren,
          useFactory: (_redis: Redis) => loadReferences(files.catalog, config, logger),
          inject: [Redis],
        },
        ...logProviders(config, files, logger),
        ...judgeProviders(config, files, logger),
        ...backlogProviders(logger),
        ...decisionProviders(files, logger),
        ...intakeProviders(config, files, id, logger),
        ...endedProviders(config, files, logger),
        ...watchingProviders(config, files, logger),
        auditProvider(config, files, logger),
        ...keepingProviders(config, files, logger),
        presenceProvider(config, files, id),
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
    QueuesModule.with({
      as: PoolQueues,
      make: (queues) => new PoolQueues(queues),
      names: files.catalog.queues(),
      prefix: (keys, name) => keys.poolQueues(poolOfQueue(name)),
      connection: 'commands',
    }),
    QueuesModule.with({
      as: RecomputeQueue,
      make: (queues, redis, keys) => new RecomputeQueue(redis, keys, queues, RECOMPUTE_DELIVERY),
      names: [RECOMPUTE_QUEUE],
      prefix: (keys) => keys.attestorQueue,
      connection: 'commands',
    }),
  ];
}

function logProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  return [
    { provide: JobArchive, useValue: new JobArchive(archiveFolder(config.COUNTERSIGN_TLOG)) },
    {
      provide: Sequencer,
      useFactory: (connections: RedisConnections, keys: RedisKeys, archive: JobArchive) => {
        const { COUNTERSIGN_KEEP_MS: keepMs, COUNTERSIGN_LOG_RECOVERY: recovery } = config;
        const parts = {
          redis: connections.named('log'),
          keys,
          files: new LogFiles(config.COUNTERSIGN_TLOG),
          archive,
          trusted: files.keyring.logPolicy.logs.map(({ key }) => key),
          logger,
        };
        return new Sequencer({
          ...parts,
          key: files.logKey,
          origin: files.logOrigin,
          witnesses: new WitnessClient(files.keyring.logPolicy, () => count('countersign_witness_failures_total')),
          durability: new Durability(durabilityLevel(config.COUNTERSIGN_DURABILITY)),
          recover: recovery === 'auto' ? () => recoverLog({ ...parts, keepMs }) : undefined,
        });
      },
      inject: [RedisConnections, RedisKeys, JobArchive],
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
    { provide: AuditDraws, useValue: new AuditDraws(files.logKey, files.logKeyBefore) },
  ];
}

function judgeProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  const { signingKey, keyring, catalog } = files;
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
          idsOf: (pool) => enrolled.idsOf(pool),
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
      useFactory: (engines: EngineChildren, hardware: HardwareSessions | undefined) =>
        equipmentOf(config, files, engines, hardware),
      inject: [EngineChildren, HardwareSessions],
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
        candidates: Candidates,
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
          candidates,
        }),
      inject: [Redis, RedisKeys, BlobFolders, EnrolledWorkers, Equipment, AuditDraws, Suspicions, Candidates],
    },
  ];
}

function equipmentOf(
  config: AttestorConfig,
  { calibrations }: AttestorFiles,
  engines: Equipment['engines'],
  hardware: HardwareSessions | undefined,
): Equipment {
  return new Equipment({ engines, calibrations, hardware, auditShare: config.COUNTERSIGN_AUDIT_SHARE });
}

function collateral({ COUNTERSIGN_TEE_COLLATERAL: path }: AttestorConfig): Collateral {
  return new Collateral(path === undefined ? { version: 1 } : readCollateralSources(path));
}

/** Where open jobs stand. */
function backlogProviders(logger: Logger): Provider[] {
  return [
    {
      provide: Backlog,
      useFactory: (redis: Redis, keys: RedisKeys, queues: PoolQueues) => new Backlog({ redis, keys, queues, logger }),
      inject: [Redis, RedisKeys, PoolQueues],
    },
    {
      provide: Schedules,
      useFactory: (redis: Redis, keys: RedisKeys) => new Schedules(redis, keys),
      inject: [Redis, RedisKeys],
    },
  ];
}

/** What rules on cases. */
function decisionProviders(files: AttestorFiles, logger: Logger): Provider[] {
  return [
    Rulings,
    ServiceTimes,
    {
      provide: Learner,
      useFactory: (redis: Redis, keys: RedisKeys) => new Learner({ redis, keys, catalog: files.catalog, logger }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Suspicions,
      useFactory: (redis: Redis, keys: RedisKeys) => new Suspicions(redis, keys, logger),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Candidates,
      useFactory: (redis: Redis, keys: RedisKeys, enrolled: EnrolledWorkers) => new Candidates(redis, keys, enrolled),
      inject: [Redis, RedisKeys, EnrolledWorkers],
    },
    {
      provide: Aside,
      useFactory: (redis: Redis, keys: RedisKeys) => new Aside(redis, keys, logger),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Decisions,
      useFactory: (
        judge: Judge,
        rulings: Rulings,
        sequencer: Sequencer,
        sealer: Sealer,
        recomputations: RecomputeQueue,
        aside: Aside,
        serviceTimes: ServiceTimes,
        learner: Learner,
      ) => new Decisions({ judge, rulings, sequencer, sealer, recomputations, aside, serviceTimes, learner, logger }),
      inject: [Judge, Rulings, Sequencer, Sealer, RecomputeQueue, Aside, ServiceTimes, Learner],
    },
  ];
}

function intakeProviders(config: AttestorConfig, files: AttestorFiles, id: string, logger: Logger): Provider[] {
  return [
    {
      provide: Intakes,
      useFactory: (
        redis: Redis,
        connections: RedisConnections,
        keys: RedisKeys,
        decisions: Decisions,
        enrolled: EnrolledWorkers,
        backlog: Backlog,
        schedules: Schedules,
      ) =>
        new Intakes({
          redis,
          wakes: connections.named('wakes'),
          keys,
          pools: files.catalog.pools(),
          decisions,
          enrolled,
          backlog,
          schedules,
          consumer: id,
          logger,
        }),
      inject: [Redis, RedisConnections, RedisKeys, Decisions, EnrolledWorkers, Backlog, Schedules],
    },
    {
      provide: RecomputeProcessor,
      // Without an engine nothing is computed again here.
      useFactory: (
        engines: EngineChildren,
        redis: Redis,
        keys: RedisKeys,
        judge: Judge,
        decisions: Decisions,
        aside: Aside,
      ) =>
        engines.models.length === 0
          ? undefined
          : RecomputeProcessor.with(
              { ...redisOptions(redisAccess(config, 'attestor'), 'patient') },
              config.COUNTERSIGN_RECOMPUTE_CONCURRENCY,
              { redis, keys, judge, decisions, aside, logger },
            ),
      inject: [EngineChildren, Redis, RedisKeys, Judge, Decisions, Aside],
    },
  ];
}

/** What becomes of jobs that have ended. */
function endedProviders(config: AttestorConfig, { catalog }: AttestorFiles, logger: Logger): Provider[] {
  const { COUNTERSIGN_KEEP_JOBS: keepJobs, COUNTERSIGN_KEEP_MS: keepMs } = config;
  return [
    {
      provide: Sealer,
      useFactory: (connections: RedisConnections, keys: RedisKeys) =>
        new Sealer({ redis: connections.named('log'), keys, keepJobs, logger }),
      inject: [RedisConnections, RedisKeys],
    },
    {
      provide: Retention,
      useFactory: (redis: Redis, keys: RedisKeys) => new Retention({ redis, keys, keepMs, keepJobs, logger }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Eraser,
      useFactory: (redis: Redis, keys: RedisKeys, archive: JobArchive, blobs: BlobFolders, retention: Retention) => {
        const kept = async () => (await retention.agreed()).keepMs;
        return new Eraser({ redis, keys, archive, blobs, pools: catalog.pools(), keepMs: kept, logger });
      },
      inject: [Redis, RedisKeys, JobArchive, BlobFolders, Retention],
    },
  ];
}

/** What looks after jobs, keys, workers and the disk in the background. */
const KEEPERS = [
  StorageProbe,
  BarredWorkers,
  Slots,
  Learner,
  Backlog,
  Sweep,
  AsideSchedule,
  Retention,
  Eraser,
  PoolKeeper,
  Strays,
  LogRequests,
  AuditKeeper,
] as const;

function auditProvider(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider {
  return {
    provide: AuditKeeper,
    useFactory: (redis: Redis, keys: RedisKeys, sequencer: Sequencer) =>
      new AuditKeeper({
        redis,
        keys,
        audit: new AuditLog(redis, keys, keys.log),
        files: new AuditFiles(auditFolder(config.COUNTERSIGN_TLOG)),
        sequencer,
        keyId: files.signingKey.public.id,
        logger,
      }),
    inject: [Redis, RedisKeys, Sequencer],
  };
}

/** What watches the workers and the disk, for others to read. */
function watchingProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  return [
    {
      provide: StorageProbe,
      useFactory: () =>
        new StorageProbe({ folders: [keptFolder(config.COUNTERSIGN_BLOBS)], roomBytes: STORAGE_ROOM_BYTES, logger }),
    },
    {
      provide: Slots,
      useFactory: (redis: Redis, keys: RedisKeys, enrolled: EnrolledWorkers, serviceTimes: ServiceTimes) =>
        new Slots({ redis, keys, catalog: files.catalog, enrolled, serviceTimes, logger }),
      inject: [Redis, RedisKeys, EnrolledWorkers, ServiceTimes],
    },
    {
      provide: BarredWorkers,
      useFactory: (redis: Redis, keys: RedisKeys, enrolled: EnrolledWorkers) =>
        new BarredWorkers({ redis, keys, pools: files.catalog.pools(), enrolled, logger }),
      inject: [Redis, RedisKeys, EnrolledWorkers],
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
      provide: AsideSchedule,
      useFactory: (redis: Redis, keys: RedisKeys, aside: Aside, decisions: Decisions) =>
        new AsideSchedule({ redis, keys, aside, decisions, logger }),
      inject: [Redis, RedisKeys, Aside, Decisions],
    },
    {
      provide: Sweep,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        backlog: Backlog,
        schedules: Schedules,
        decisions: Decisions,
        candidates: Candidates,
        learner: Learner,
      ) =>
        new Sweep({
          redis,
          keys,
          queues: files.catalog.queues(),
          backlog,
          schedules,
          decisions,
          candidates,
          learner,
          everyMs: config.COUNTERSIGN_SWEEP_MS,
          mostLost: config.COUNTERSIGN_LOST_WORKERS,
          logger,
        }),
      inject: [Redis, RedisKeys, Backlog, Schedules, Decisions, Candidates, Learner],
    },
    logRequestsProvider(files, logger),
    {
      provide: AttestorKeepers,
      useFactory: (...parts: { start(): void; stop(): Promise<void> }[]) => new AttestorKeepers(parts),
      inject: [...KEEPERS],
    },
  ];
}

function logRequestsProvider(files: AttestorFiles, logger: Logger): Provider {
  return {
    provide: LogRequests,
    useFactory: (redis: Redis, keys: RedisKeys, sequencer: Sequencer) =>
      new LogRequests(
        {
          redis,
          keys,
          keyring: files.keyring,
          record: (keyId, payload) => sequencer.logDocument('ledger', keyId, payload),
        },
        logger,
      ),
    inject: [Redis, RedisKeys, Sequencer],
  };
}

/** What is announced rests on what is loaded now. */
function presenceProvider(config: AttestorConfig, files: AttestorFiles, id: string): Provider {
  return {
    provide: AttestorPresence,
    useFactory: (
      redis: Redis,
      keys: RedisKeys,
      { loaded }: EngineChildren,
      hardware: HardwareSessions | undefined,
      sequencer: Sequencer,
      enrolled: EnrolledWorkers,
      storage: StorageProbe,
    ) =>
      new AttestorPresence({
        redis,
        keys,
        id,
        catalog: files.catalog,
        equipment: equipmentOf(config, files, loaded, hardware),
        sequencer,
        enrolled,
        storage,
      }),
    inject: [Redis, RedisKeys, EngineChildren, HardwareSessions, Sequencer, EnrolledWorkers, StorageProbe],
  };
}

/** What the lifecycle starts and stops, in the order of its factory's parameters. */
const LIFECYCLE_PARTS = [
  Redis,
  RedisKeys,
  BlobFolders,
  JobArchive,
  EngineChildren,
  Sequencer,
  EnrolledWorkers,
  AuditDraws,
  HardwareSessions,
  Intakes,
  Sealer,
  Eraser,
  AttestorKeepers,
  RecomputeProcessor,
  AttestorPresence,
  BullRegistrar,
] as const;

function lifecycleProvider(config: AttestorConfig, files: AttestorFiles, id: string, logger: Logger): Provider {
  return {
    provide: AttestorLifecycle,
    useFactory: (
      redis: Redis,
      keys: RedisKeys,
      blobs: BlobFolders,
      archive: JobArchive,
      engines: EngineChildren,
      sequencer: Sequencer,
      enrolled: EnrolledWorkers,
      draws: AuditDraws,
      hardware: HardwareSessions | undefined,
      intakes: Intakes,
      sealer: Sealer,
      eraser: Eraser,
      keepers: AttestorKeepers,
      processor: RecomputeProcessor | undefined,
      presence: AttestorPresence,
      registrar: BullRegistrar,
    ) =>
      new AttestorLifecycle({
        redis,
        keys,
        blobs,
        archive,
        engines,
        sequencer,
        enrolled,
        draws,
        hardware,
        intakes,
        sealer,
        eraser,
        keepers,
        processor,
        presence,
        registrar,
        id,
        config,
        files,
        logger,
      }),
    inject: [...LIFECYCLE_PARTS],
  };
}
