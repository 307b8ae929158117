import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { MACHINE_CLOCK } from '../../ground/clock/clock.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { PoolEmptier } from '../../core/backlog/pool-emptier.ts';
import { Pools } from '../../core/backlog/pool.store.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { JobReader } from '../../core/jobs/job.reader.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { Wake } from '../../core/jobs/wake.ts';
import { Admission } from '../../surfaces/admission/admission.ts';
import { BatchAnswers } from '../../surfaces/batches/batch-answers.store.ts';
import { BatchFiles } from '../../surfaces/batches/batch-files.store.ts';
import { BatchRunner } from '../../surfaces/batches/batch-runner.ts';
import { Batches } from '../../surfaces/batches/batch.store.ts';
import { HistoryWriter } from '../../surfaces/history/history-writer.ts';
import { JobEndProcessor } from '../../surfaces/job-ends/job-end-processor.ts';
import { ClosedPeriods } from '../../surfaces/ledger/closed-periods.store.ts';
import { LedgerCloser } from '../../surfaces/ledger/ledger-closer.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { MemoryKeeper } from '../../surfaces/memory/memory-keeper.ts';
import { Completions } from '../../surfaces/openai/completions.ts';
import { FileEraser } from '../../surfaces/offboarding/file-eraser.ts';
import { TenantDeleter } from '../../surfaces/offboarding/tenant-deleter.ts';
import { TenantDeletions } from '../../surfaces/offboarding/tenant-deletions.ts';
import { WorkStopper } from '../../surfaces/offboarding/work-stopper.ts';
import { PaymentSettler } from '../../surfaces/payments/payment-settler.ts';
import { ScheduleRunner } from '../../surfaces/schedules/schedule-runner.ts';
import { Schedules } from '../../surfaces/schedules/schedule.store.ts';
import { ServiceFiles } from '../../surfaces/service/service-files.ts';
import { ServiceModule } from '../../surfaces/service/service.module.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { WorkStops } from '../../surfaces/tenants/work-stops.ts';
import { EgressRules } from '../../surfaces/webhooks/egress.ts';
import { WebhookSender } from '../../surfaces/webhooks/webhook-sender.ts';
import { WebhookMessages } from '../../surfaces/webhooks/webhook-messages.store.ts';
import { Webhooks } from '../../surfaces/webhooks/webhook.store.ts';
import type { CourierConfig } from './courier-config.ts';
import { CourierLifecycle } from './courier-lifecycle.ts';
import { MemoryHost } from './memory-host.ts';

/**
 * Background work: batches, schedules, the ends of jobs, webhooks, payments. Any number of couriers may run
 * at once.
 */
@Module({})
export class CourierModule {
  static with(config: CourierConfig, logger: Logger): DynamicModule {
    const deadAfterMs = config.COUNTERSIGN_WEBHOOK_DEAD_AFTER_S * 1_000;
    const schedule = config.COUNTERSIGN_WEBHOOK_SCHEDULE.split(',').map(Number);
    return {
      module: CourierModule,
      imports: [ServiceModule.with(config, logger)],
      providers: [
        batchProvider(logger),
        {
          provide: JobEndProcessor,
          useFactory: (redis: Redis, keys: RedisKeys, webhooks: Webhooks, batches: Batches, wake: Wake) =>
            new JobEndProcessor({ redis, keys, webhooks, batches, wake }, logger, freshRandom(12).toString('hex')),
          inject: [Redis, RedisKeys, Webhooks, Batches, Wake],
        },
        {
          provide: ScheduleRunner,
          useFactory: (
            redis: Redis,
            keys: RedisKeys,
            schedules: Schedules,
            admission: Admission,
            reader: JobReader,
            apiKeys: ApiKeys,
          ) => new ScheduleRunner({ redis, keys, schedules, admission, reader, apiKeys }, logger),
          inject: [Redis, RedisKeys, Schedules, Admission, JobReader, ApiKeys],
        },
        {
          provide: WebhookSender,
          useFactory: (
            redis: Redis,
            keys: RedisKeys,
            webhooks: Webhooks,
            messages: WebhookMessages,
            egress: EgressRules,
          ) => new WebhookSender({ redis, keys, webhooks, messages, egress, schedule, deadAfterMs }, logger),
          inject: [Redis, RedisKeys, Webhooks, WebhookMessages, EgressRules],
        },
        paymentProvider(logger),
        {
          provide: LedgerCloser,
          useFactory: (
            redis: Redis,
            keys: RedisKeys,
            usage: UsageStore,
            closed: ClosedPeriods,
            blobs: BlobFolders,
            { signingKey }: ServiceFiles,
          ) => new LedgerCloser({ redis, keys, usage, closed, exports: blobs.ledgers, signingKey }, logger),
          inject: [Redis, RedisKeys, UsageStore, ClosedPeriods, BlobFolders, ServiceFiles],
        },
        ...offboardingProviders(logger),
        ...memoryProviders(config, logger),
        CourierLifecycle,
      ],
    };
  }
}

const paymentProvider = (logger: Logger): Provider => ({
  provide: PaymentSettler,
  useFactory: (redis: Redis, keys: RedisKeys, { paymentTerms }: ServiceFiles) =>
    paymentTerms && new PaymentSettler({ redis, keys }, paymentTerms.facilitator, logger),
  inject: [Redis, RedisKeys, ServiceFiles],
});

const memoryProviders = (config: CourierConfig, logger: Logger): Provider[] => [
  { provide: MemoryHost, useFactory: () => new MemoryHost(config, logger) },
  {
    provide: MemoryKeeper,
    useFactory: (
      redis: Redis,
      keys: RedisKeys,
      reader: JobReader,
      jobs: Jobs,
      memory: MemoryClient,
      blobs: BlobFolders,
    ) => new MemoryKeeper({ redis, keys, reader, jobs, memory, blobs }, logger),
    inject: [Redis, RedisKeys, JobReader, Jobs, MemoryClient, BlobFolders],
  },
  {
    provide: HistoryWriter,
    useFactory: (redis: Redis, keys: RedisKeys, archive: JobArchive, memory: MemoryHost) =>
      new HistoryWriter({ redis, keys, archive, memory }, logger),
    inject: [Redis, RedisKeys, JobArchive, MemoryHost],
  },
];

function batchProvider(logger: Logger): Provider {
  return {
    provide: BatchRunner,
    useFactory: (
      redis: Redis,
      keys: RedisKeys,
      batches: Batches,
      files: BatchFiles,
      completions: Completions,
      apiKeys: ApiKeys,
    ) =>
      new BatchRunner(
        {
          redis,
          keys,
          batches,
          files,
          answers: new BatchAnswers(redis, keys, files),
          completions,
          apiKeys,
          clock: MACHINE_CLOCK,
        },
        logger,
      ),
    inject: [Redis, RedisKeys, Batches, BatchFiles, Completions, ApiKeys],
  };
}

/** What ends with keys, files and tenants, or with what waits in a pool. */
function offboardingProviders(logger: Logger): Provider[] {
  return [
    {
      provide: WorkStopper,
      useFactory: (redis: Redis, keys: RedisKeys, jobs: Jobs, batches: Batches, stops: WorkStops) =>
        new WorkStopper({ redis, keys, jobs, batches, stops }, logger),
      inject: [Redis, RedisKeys, Jobs, Batches, WorkStops],
    },
    {
      provide: PoolEmptier,
      useFactory: (redis: Redis, keys: RedisKeys, { catalog }: ServiceFiles) => {
        const pools = new Pools(redis, keys, catalog, new AuditLog(redis, keys));
        return new PoolEmptier({ redis, keys, pools, names: catalog.pools() }, logger);
      },
      inject: [Redis, RedisKeys, ServiceFiles],
    },
    {
      provide: FileEraser,
      useFactory: (redis: Redis, keys: RedisKeys, files: BatchFiles, batches: Batches) =>
        new FileEraser({ redis, keys, files, batches }, logger),
      inject: [Redis, RedisKeys, BatchFiles, Batches],
    },
    {
      provide: TenantDeleter,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        archive: JobArchive,
        { signingKey }: ServiceFiles,
        memory: MemoryClient,
      ) => {
        const audit = new AuditLog(redis, keys);
        const deletions = new TenantDeletions(redis, keys, audit);
        const parts = { redis, keys, deletions, audit, archive, signingKey, memory };
        return new TenantDeleter(parts, logger, freshRandom(12).toString('hex'));
      },
      inject: [Redis, RedisKeys, JobArchive, ServiceFiles, MemoryClient],
    },
  ];
}
