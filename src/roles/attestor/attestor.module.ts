import { BullModule, BullRegistrar } from '@nestjs/bullmq';
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { AuditDraws } from '../../core/confirmation/audit-draws.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { HardwareSessions } from '../../core/confirmation/hardware-sessions.ts';
import { Eraser } from '../../core/confirmation/eraser.ts';
import { Intakes } from '../../core/confirmation/intakes.ts';
import { RECOMPUTE_DELIVERY, RECOMPUTE_QUEUE, RecomputeQueue } from '../../core/confirmation/recompute-queue.ts';
import { RecomputeProcessor } from '../../core/confirmation/recompute.processor.ts';
import { Sealer } from '../../core/confirmation/sealer.ts';
import { Sequencer } from '../../core/confirmation/sequencer.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { EngineChildren } from '../../core/engines/engine-children.ts';
import { StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { Storage } from '../../ground/blobs/storage.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { QueuesModule } from '../../ground/bull/queues.module.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { redisAccess, redisOptions } from '../../ground/redis/connection.ts';
import { durabilityLevel } from '../../ground/redis/durability.ts';
import { RedisKeys, poolOfQueue } from '../../ground/redis/keys.ts';
import { RedisModule } from '../../ground/redis/redis.module.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { RereadableFiles } from '../../ground/process/rereadable-files.ts';
import { AttestorFiles } from './attestor-files.ts';
import { AttestorKeepers } from './attestor-keepers.ts';
import { AttestorLifecycle } from './attestor-lifecycle.ts';
import { AttestorPresence } from './attestor-presence.ts';
import { loadReferences } from './reference-models.ts';
import { equipmentOf, decisionProviders, judgeProviders, logProviders } from './judging.providers.ts';
import { backlogProviders, endedProviders, intakeProviders } from './jobs.providers.ts';
import { auditProvider, keepingProviders, watchingProviders } from './keepers.providers.ts';

/** One attestor. Any number may run; they share the work and cannot contradict each other. */
@Module({})
export class AttestorModule {
  /** Reads the attestor's files. Throws CodedErrors that say what to do. */
  static with(config: AttestorConfig, logger: Logger): DynamicModule {
    const files = new AttestorFiles(config);
    const storage = new Storage(config);
    const log = storage.files(config.COUNTERSIGN_TLOG);
    const id = `a-${files.signingKey.public.id.slice(0, 16)}-${freshRandom(4).toString('hex')}`;
    return {
      module: AttestorModule,
      imports: queueModules(config, files, logger),
      providers: [
        { provide: RereadableFiles, useValue: files },
        { provide: BlobFolders, useFactory: () => new BlobFolders(config.COUNTERSIGN_BLOBS, storage) },
        // After Redis: an attestor whose Redis is away says so before it loads gigabytes.
        {
          provide: EngineChildren,
          useFactory: (_redis: Redis) => loadReferences(files.catalog, config, logger),
          inject: [Redis],
        },
        ...logProviders(config, files, log, logger),
        ...judgeProviders(config, files, logger),
        ...backlogProviders(logger),
        ...decisionProviders(files, logger),
        ...intakeProviders(config, files, id, logger),
        ...endedProviders(config, files, logger),
        ...watchingProviders(files, logger),
        auditProvider(files, log, logger),
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
      make: (queues, _redis, _keys, open) => new PoolQueues(queues, { names: () => files.catalog.queues(), open }),
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
