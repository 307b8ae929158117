import { readFileSync } from 'node:fs';
import { Module, type DynamicModule, type Provider } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { Redis } from 'ioredis';
import { JobReader } from '../../core/jobs/job.reader.ts';
import { JobInputs } from '../../core/jobs/job-inputs.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { StuckJobs } from '../../core/jobs/stuck-jobs.ts';
import { Wake } from '../../core/jobs/wake.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { STORAGE_ROOM_BYTES, StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { StorageGate } from '../../ground/redis/storage-gate.ts';
import { Admission } from '../../surfaces/admission/admission.ts';
import { Erasures } from '../../surfaces/erasure/erasures.ts';
import { ErasureReceipts } from '../../surfaces/memory/erasure-receipts.ts';
import { Extractor } from '../../surfaces/memory/extractor.ts';
import { ProtectedResource } from '../../surfaces/mcp/protected-resource.ts';
import { readTokenTerms } from '../../surfaces/mcp/token-terms.ts';
import { MemoryBundles } from '../../surfaces/memory/memory-bundles.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { Retries } from '../../surfaces/admission/retries.ts';
import { JobSearch } from '../../surfaces/history/job-search.ts';
import { MemoryClient } from '../../surfaces/memory/memory-client.ts';
import { keptWork } from '../../surfaces/memory/memory-work.ts';
import { Recall } from '../../surfaces/memory/recall.ts';
import { Completions } from '../../surfaces/openai/completions.ts';
import { Responses } from '../../surfaces/openai/responses.ts';
import { PaymentGate } from '../../surfaces/payments/payment-gate.ts';
import { PaymentRecords } from '../../surfaces/payments/payment.store.ts';
import { ServiceFiles } from '../../surfaces/service/service-files.ts';
import { ServiceModule } from '../../surfaces/service/service.module.ts';
import { Tallies } from '../../surfaces/dashboard/tallies.ts';
import { Sessions } from '../../surfaces/dashboard/session.store.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { CreatedOnce } from '../../surfaces/admission/created-once.ts';
import { Attempts } from '../../core/audit/attempts.ts';
import { FilesInForce, type FileInForce } from '../../core/audit/files-in-force.ts';
import { AuditFiles } from '../../core/audit/audit-files.ts';
import { Storage } from '../../ground/blobs/storage.ts';
import { Pools } from '../../core/backlog/pool.store.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { TenantDeletions } from '../../surfaces/offboarding/tenant-deletions.ts';
import { Tenants } from '../../surfaces/tenants/tenant.store.ts';
import { AdminController } from './admin.controller.ts';
import { AuditedRoutes } from './audited-routes.ts';
import { AuditController } from './audit.controller.ts';
import { KeyWorks } from './key-document.ts';
import { OwnAnswers } from './own-answers.ts';
import { TenantController } from './tenant.controller.ts';
import type { ApiConfig } from './api-config.ts';
import { ApiLifecycle } from './api-lifecycle.ts';
import { BatchesController } from './batches.controller.ts';
import { CallerGuard } from './caller.guard.ts';
import { CheckerController } from './checker.controller.ts';
import { DashboardFiles } from './dashboard-files.ts';
import { DirectoryController } from './directory.controller.ts';
import { Directory } from './directory.ts';
import { EventStreams } from './event-streams.ts';
import { FeedReader } from './feed-reader.ts';
import { FirstKey } from './first-key.ts';
import { FilesController } from './files.controller.ts';
import { JobsController } from './jobs.controller.ts';
import { LogController } from './log.controller.ts';
import { Mem0Controller } from './mem0.controller.ts';
import { McpController } from './mcp.controller.ts';
import { Mcp } from './mcp.ts';
import { MemoriesController } from './memories.controller.ts';
import { Extractions } from './extractions.ts';
import { ExtractionsController } from './extractions.controller.ts';
import { MemoryBundlesController } from './memory-bundles.controller.ts';
import { Metrics } from './metrics.ts';
import { OpenAiController } from './openai.controller.ts';
import { LiveFeed } from './live-feed.ts';
import { OverviewController } from './overview.controller.ts';
import { Overviews } from './overview.ts';
import { PoolsController } from './pools.controller.ts';
import { ProblemFilter } from './problem.filter.ts';
import { ResponsesController } from './responses.controller.ts';
import { SchedulesController } from './schedules.controller.ts';
import { SessionController } from './session.controller.ts';
import { UsageController } from './usage.controller.ts';
import { WebhooksController } from './webhooks.controller.ts';

/** The API: controllers over what `ServiceModule` provides. */
@Module({
  controllers: [
    JobsController,
    OpenAiController,
    ResponsesController,
    FilesController,
    BatchesController,
    SchedulesController,
    MemoryBundlesController,
    MemoriesController,
    McpController,
    Mem0Controller,
    ExtractionsController,
    WebhooksController,
    UsageController,
    AdminController,
    PoolsController,
    AuditController,
    TenantController,
    DirectoryController,
    CheckerController,
    LogController,
    SessionController,
    OverviewController,
  ],
})
export class ApiModule {
  static with(config: ApiConfig, logger: Logger): DynamicModule {
    return {
      module: ApiModule,
      imports: [ServiceModule.with(config, logger)],
      providers: [
        {
          provide: AuditLog,
          useFactory: (redis: Redis, keys: RedisKeys) => new AuditLog(redis, keys),
          inject: [Redis, RedisKeys],
        },
        { provide: Attempts, useFactory: (audit: AuditLog) => new Attempts(audit, logger), inject: [AuditLog] },
        {
          provide: FilesInForce,
          useFactory: (redis: Redis, keys: RedisKeys, audit: AuditLog) =>
            new FilesInForce(redis, keys, audit, filesInForce(config)),
          inject: [Redis, RedisKeys, AuditLog],
        },
        { provide: AuditFiles, useFactory: () => new AuditFiles(new Storage(config).files(config.COUNTERSIGN_TLOG)) },
        CreatedOnce,
        Tenants,
        Erasures,
        KeyWorks,
        TenantDeletions,
        OwnAnswers,
        Extractions,
        Sessions,
        Overviews,
        {
          provide: LiveFeed,
          useFactory: (overviews: Overviews) => new LiveFeed(overviews, logger),
          inject: [Overviews],
        },
        { provide: DashboardFiles, useFactory: () => new DashboardFiles() },
        FeedReader,
        Metrics,
        ApiLifecycle,
        ...directoryProviders(config, logger),
        ...surfaceProviders(config, logger),
        ...memoryProviders(),
        ...mcpProviders(config, logger),
        { provide: APP_GUARD, useClass: CallerGuard },
        { provide: APP_INTERCEPTOR, useClass: AuditedRoutes },
        {
          provide: APP_FILTER,
          useFactory: (tallies: Tallies) => new ProblemFilter(logger, tallies),
          inject: [Tallies],
        },
      ],
    };
  }
}

/** What tells who and what is there. */
function directoryProviders(config: ApiConfig, logger: Logger): Provider[] {
  return [
    {
      provide: Pools,
      useFactory: (redis: Redis, keys: RedisKeys, { catalog }: ServiceFiles, audit: AuditLog) =>
        new Pools(redis, keys, catalog, audit),
      inject: [Redis, RedisKeys, ServiceFiles, AuditLog],
    },
    {
      provide: Directory,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        { catalog, keyringFile }: ServiceFiles,
        gate: StorageGate,
        storage: StorageProbe,
      ) => new Directory({ redis, keys, catalog, keyring: keyringFile, gate, storage }),
      inject: [Redis, RedisKeys, ServiceFiles, StorageGate, StorageProbe],
    },
    {
      provide: StorageProbe,
      useFactory: ({ catalog }: ServiceFiles, blobs: BlobFolders) =>
        new StorageProbe({
          stores: catalog.pools().map((pool) => blobs.ofPool(pool)),
          roomBytes: STORAGE_ROOM_BYTES,
          logger,
        }),
      inject: [ServiceFiles, BlobFolders],
    },
  ];
}

function surfaceProviders(config: ApiConfig, logger: Logger): Provider[] {
  return [
    {
      provide: EventStreams,
      useFactory: (apiKeys: ApiKeys) =>
        new EventStreams(
          { max: config.COUNTERSIGN_MAX_STREAMS, maxPerKey: config.COUNTERSIGN_MAX_STREAMS_PER_KEY },
          (keyId) => apiKeys.isValid(keyId),
        ),
      inject: [ApiKeys],
    },
    {
      provide: FirstKey,
      useFactory: (redis: Redis, keys: RedisKeys) => new FirstKey(redis, keys, config.COUNTERSIGN_BOOTSTRAP, logger),
      inject: [Redis, RedisKeys],
    },
    {
      provide: StuckJobs,
      useFactory: (redis: Redis, keys: RedisKeys, reader: JobReader) => new StuckJobs(redis, keys, reader),
      inject: [Redis, RedisKeys, JobReader],
    },
    {
      provide: Retries,
      useFactory: (jobs: Jobs, inputs: JobInputs, admission: Admission) =>
        new Retries({ jobs, inputs, admission, carried: keptWork }),
      inject: [Jobs, JobInputs, Admission],
    },
    {
      provide: JobInputs,
      useFactory: (redis: Redis, keys: RedisKeys, reader: JobReader, blobs: BlobFolders) =>
        new JobInputs({ redis, keys, reader, blobs }),
      inject: [Redis, RedisKeys, JobReader, BlobFolders],
    },
    {
      provide: JobSearch,
      useFactory: (redis: Redis, keys: RedisKeys, reader: JobReader, memory: MemoryClient) =>
        new JobSearch(redis, keys, reader, memory),
      inject: [Redis, RedisKeys, JobReader, MemoryClient],
    },
    {
      provide: Responses,
      useFactory: (admission: Admission, jobs: Jobs, wake: Wake, completions: Completions, recall: Recall) =>
        new Responses({ admission, jobs, wake, completions, recall }),
      inject: [Admission, Jobs, Wake, Completions, Recall],
    },
    {
      provide: PaymentGate,
      useFactory: (files: ServiceFiles, records: PaymentRecords, admission: Admission, apiKeys: ApiKeys) =>
        new PaymentGate({
          terms: files.paymentTerms,
          secrets: files.secretsKeys,
          records,
          admission,
          apiKeys,
          logger,
        }),
      inject: [ServiceFiles, PaymentRecords, Admission, ApiKeys],
    },
  ];
}

function memoryProviders(): Provider[] {
  return [
    { provide: Recall, useFactory: (memory: MemoryClient) => new Recall(memory), inject: [MemoryClient] },
    {
      provide: Extractor,
      useFactory: (admission: Admission, memory: MemoryClient, { catalog }: ServiceFiles) =>
        new Extractor({ admission, memory, catalog }),
      inject: [Admission, MemoryClient, ServiceFiles],
    },
    {
      provide: MemoryBundles,
      useFactory: (memory: MemoryClient, { signingKey }: ServiceFiles) => new MemoryBundles(memory, signingKey),
      inject: [MemoryClient, ServiceFiles],
    },
    {
      provide: ErasureReceipts,
      useFactory: (
        redis: Redis,
        keys: RedisKeys,
        memory: MemoryClient,
        audit: AuditLog,
        { signingKey }: ServiceFiles,
      ) => new ErasureReceipts({ redis, keys, memory, audit, signingKey }),
      inject: [Redis, RedisKeys, MemoryClient, AuditLog, ServiceFiles],
    },
  ];
}

function mcpProviders({ COUNTERSIGN_MCP_OAUTH: oauth }: ApiConfig, logger: Logger): Provider[] {
  return [
    {
      provide: Mcp,
      useFactory: (host: HttpAdapterHost<FastifyAdapter>, directory: Directory) =>
        new Mcp({ instance: () => host.httpAdapter.getInstance(), directory, logger }),
      inject: [HttpAdapterHost, Directory],
    },
    {
      provide: ProtectedResource,
      useFactory: () => new ProtectedResource(oauth === undefined ? undefined : readTokenTerms(oauth)),
    },
  ];
}

function filesInForce({ COUNTERSIGN_PRICES: prices, COUNTERSIGN_CATALOG: catalog }: ApiConfig): FileInForce[] {
  return [
    { name: 'catalog', bytes: readFileSync(catalog) },
    ...(prices === undefined ? [] : [{ name: 'prices' as const, bytes: readFileSync(prices) }]),
  ];
}
