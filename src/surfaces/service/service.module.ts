import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Backlog } from '../../core/backlog/backlog.ts';
import { Catalog } from '../../core/catalog/catalog.ts';
import { Outlooks } from '../../core/forecast/outlooks.ts';
import { Prospects } from '../../core/forecast/prospects.ts';
import { ArchivedJobs } from '../../core/jobs/archived-jobs.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { JobReader } from '../../core/jobs/job.reader.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { publishedLog } from '../../core/jobs/published-log.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { Storage } from '../../ground/blobs/storage.ts';
import { PoolQueues } from '../../ground/bull/pool-queues.ts';
import { QueuesModule } from '../../ground/bull/queues.module.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { RedisConnections } from '../../ground/redis/connections.ts';
import { Durability, durabilityLevel } from '../../ground/redis/durability.ts';
import { RedisKeys, poolOfQueue } from '../../ground/redis/keys.ts';
import { StorageGate } from '../../ground/redis/storage-gate.ts';
import { RedisModule } from '../../ground/redis/redis.module.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { LogReader } from '../../proof/tlog/log-reader.ts';
import { Admission } from '../admission/admission.ts';
import { BatchFiles } from '../batches/batch-files.store.ts';
import { Batches } from '../batches/batch.store.ts';
import { Tallies } from '../dashboard/tallies.ts';
import { ClosedPeriods } from '../ledger/closed-periods.store.ts';
import { Ledgers } from '../ledger/ledgers.ts';
import { UsageStore } from '../ledger/usage.store.ts';
import { MemoryClient } from '../memory/memory-client.ts';
import { Completions } from '../openai/completions.ts';
import { PaymentRecords } from '../payments/payment.store.ts';
import { Schedules } from '../schedules/schedule.store.ts';
import { ApiKeys } from '../tenants/api-key.store.ts';
import { RateLimits } from '../tenants/rate-limits.ts';
import { WorkStops } from '../tenants/work-stops.ts';
import { RereadableFiles } from '../../ground/process/rereadable-files.ts';
import { EgressRules } from '../webhooks/egress.ts';
import { WebhookMessages } from '../webhooks/webhook-messages.store.ts';
import { Webhooks } from '../webhooks/webhook.store.ts';
import type { ServiceConfig } from './service-config.ts';
import { ServiceFiles } from './service-files.ts';

/** Stores that need Redis, the names of its keys and the keys of secrets, and nothing else. */
const STORES = [
  ApiKeys,
  Batches,
  PaymentRecords,
  RateLimits,
  Schedules,
  UsageStore,
  WebhookMessages,
  Webhooks,
  WorkStops,
];

/** Where admissions wait for replicas, so that nothing else waits behind them. */
const ADMISSIONS = 'admissions';

/** How jobs are taken in and their answers handed out: what the API and the courier have in common. */
@Module({})
export class ServiceModule {
  /** Reads the service's files. Throws CodedErrors that say what to do. */
  static with(config: ServiceConfig, logger: Logger): DynamicModule {
    const files = new ServiceFiles(config);
    const durability = new Durability(durabilityLevel(config.COUNTERSIGN_DURABILITY));
    const providers = [
      { provide: ServiceFiles, useValue: files },
      { provide: RereadableFiles, useValue: files },
      { provide: SecretsKeys, useValue: files.secretsKeys },
      { provide: Catalog, useValue: files.catalog },
      { provide: MemoryClient, useValue: new MemoryClient(config.COUNTERSIGN_MEMORY_SOCKET) },
      { provide: EgressRules, useValue: new EgressRules(config.COUNTERSIGN_WEBHOOK_PRIVATE === 'allow') },
      ...STORES,
      ...LEDGER_PROVIDERS,
      ...jobProviders(config, files, logger),
      ...logProviders(config, files),
      ...forecastProviders(config, files),
      {
        provide: Tallies,
        useFactory: (redis: Redis, keys: RedisKeys) => new Tallies(redis, keys),
        inject: [Redis, RedisKeys],
      },
      ...admissionProviders(config, files, durability),
    ];
    return {
      module: ServiceModule,
      imports: [
        RedisModule.with(
          config,
          {
            user: 'api',
            // BullMQ waits for its connection; a prompt one rejects what is sent during an outage, and an
            // attestor finds what was not delivered.
            connections: {
              commands: 'prompt',
              wakes: 'patient',
              poolWakes: 'patient',
              queues: 'prompt',
              ...(durability.level.kind === 'replicas' ? { [ADMISSIONS]: 'prompt' } : {}),
            },
            durability: durability.level,
          },
          logger,
        ),
        QueuesModule.with({
          as: PoolQueues,
          make: (queues, _redis, _keys, open) => new PoolQueues(queues, { names: () => files.catalog.queues(), open }),
          names: files.catalog.queues(),
          prefix: (keys, name) => keys.poolQueues(poolOfQueue(name)),
          connection: 'queues',
        }),
      ],
      providers,
      exports: providers,
    };
  }
}

const LEDGER_PROVIDERS: readonly Provider[] = [
  {
    provide: ClosedPeriods,
    useFactory: (redis: Redis, keys: RedisKeys, blobs: BlobFolders) => new ClosedPeriods(redis, keys, blobs),
    inject: [Redis, RedisKeys, BlobFolders],
  },
  {
    provide: Ledgers,
    useFactory: (usage: UsageStore, closed: ClosedPeriods) => new Ledgers(usage, closed),
    inject: [UsageStore, ClosedPeriods],
  },
];

function jobProviders(config: ServiceConfig, files: ServiceFiles, logger: Logger): Provider[] {
  const storage = new Storage(config);
  return [
    {
      provide: Backlog,
      useFactory: (redis: Redis, keys: RedisKeys, queues: PoolQueues) => new Backlog({ redis, keys, queues, logger }),
      inject: [Redis, RedisKeys, PoolQueues],
    },
    { provide: BlobFolders, useFactory: () => new BlobFolders(config.COUNTERSIGN_BLOBS, storage) },
    {
      provide: StorageGate,
      useFactory: (redis: Redis) =>
        new StorageGate(redis, { share: config.COUNTERSIGN_STORAGE_SHARE, bytes: config.COUNTERSIGN_STORAGE_BYTES }),
      inject: [Redis],
    },
    {
      provide: BatchFiles,
      useFactory: (redis: Redis, keys: RedisKeys, gate: StorageGate) =>
        new BatchFiles(redis, keys, storage.blobs(config.COUNTERSIGN_FILES), gate),
      inject: [Redis, RedisKeys, StorageGate],
    },
    {
      provide: Wake,
      useFactory: (connections: RedisConnections, keys: RedisKeys) =>
        new Wake({
          trusted: connections.named('wakes'),
          fromPools: connections.named('poolWakes'),
          keys,
          pools: files.catalog.pools(),
          logger,
        }),
      inject: [RedisConnections, RedisKeys],
    },
    {
      provide: Jobs,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        reader: JobReader,
        blobs: BlobFolders,
        wake: Wake,
        log: LogReader,
        withholding: PaymentRecords,
      ) => new Jobs({ redis, keys, reader, blobs, wake, log, keyring: files.keyring, withholding }),
      inject: [Redis, RedisKeys, JobReader, BlobFolders, Wake, LogReader, PaymentRecords],
    },
  ];
}

/** What is read of the log and of its archive. */
function logProviders(config: ServiceConfig, files: ServiceFiles): Provider[] {
  const log = new Storage(config).files(config.COUNTERSIGN_TLOG);
  return [
    {
      provide: LogReader,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new LogReader(new LogFiles(log), files.logKeys, publishedLog(redis, keys)),
      inject: [Redis, RedisKeys],
    },
    { provide: JobArchive, useFactory: () => new JobArchive(log) },
    {
      provide: JobReader,
      useFactory: (redis: Redis, keys: RedisKeys, archive: JobArchive) =>
        new JobReader(redis, keys, keys.open, new ArchivedJobs(archive)),
      inject: [Redis, RedisKeys, JobArchive],
    },
  ];
}

/** What is foreseen of jobs. */
function forecastProviders(config: ServiceConfig, files: ServiceFiles): Provider[] {
  return [
    {
      provide: Outlooks,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new Outlooks(redis, keys, config.COUNTERSIGN_ADMISSION_PROBABILITY),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Prospects,
      useFactory: (redis: Redis, keys: RedisKeys, outlooks: Outlooks) =>
        new Prospects(redis, keys, files.catalog, outlooks),
      inject: [Redis, RedisKeys, Outlooks],
    },
  ];
}

function admissionProviders(config: ServiceConfig, files: ServiceFiles, durability: Durability): Provider[] {
  const { catalog, prices, signingKey } = files;
  return [
    {
      provide: Admission,
      useFactory: (
        redis: Redis,
        connections: RedisConnections,
        keys: RedisKeys,
        backlog: Backlog,
        reader: JobReader,
        blobs: BlobFolders,
        webhooks: Webhooks,
        egress: EgressRules,
        gate: StorageGate,
        outlooks: Outlooks,
        tallies: Tallies,
      ) =>
        new Admission({
          outlooks,
          onAccepted: (jobs) => tallies.accepted(jobs),
          redis: durability.level.kind === 'replicas' ? connections.named(ADMISSIONS) : redis,
          durability,
          keys,
          gate,
          backlog,
          reader,
          blobs,
          catalog,
          signingKey,
          defaultRecompute: config.COUNTERSIGN_DEFAULT_RECOMPUTE,
          prices,
          webhooks,
          egress,
        }),
      inject: [
        Redis,
        RedisConnections,
        RedisKeys,
        Backlog,
        JobReader,
        BlobFolders,
        Webhooks,
        EgressRules,
        StorageGate,
        Outlooks,
        Tallies,
      ],
    },
    {
      provide: Completions,
      useFactory: (admission: Admission, jobs: Jobs, wake: Wake) => new Completions({ admission, jobs, wake }),
      inject: [Admission, Jobs, Wake],
    },
  ];
}
