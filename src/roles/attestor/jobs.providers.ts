import { type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Aside } from '../../core/confirmation/aside.ts';
import { Backlog } from '../../core/backlog/backlog.ts';
import { Schedules } from '../../core/backlog/schedules.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { Decisions } from '../../core/confirmation/decisions.ts';
import { Eraser } from '../../core/confirmation/eraser.ts';
import { Intakes } from '../../core/confirmation/intakes.ts';
import { Judge } from '../../core/confirmation/judge.ts';
import { RecomputeProcessor } from '../../core/confirmation/recompute.processor.ts';
import { Retention } from '../../core/confirmation/retention.ts';
import { Sealer } from '../../core/confirmation/sealer.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { EngineChildren } from '../../core/engines/engine-children.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { PoolQueues } from '../../ground/bull/pool-queues.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { redisAccess, redisOptions } from '../../ground/redis/connection.ts';
import { RedisConnections } from '../../ground/redis/connections.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { AttestorFiles } from './attestor-files.ts';

/** Where open jobs stand. */
export function backlogProviders(logger: Logger): Provider[] {
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

/** What takes in what workers claim, and computes it again. */
export function intakeProviders(config: AttestorConfig, files: AttestorFiles, id: string, logger: Logger): Provider[] {
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
export function endedProviders(config: AttestorConfig, { catalog }: AttestorFiles, logger: Logger): Provider[] {
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
