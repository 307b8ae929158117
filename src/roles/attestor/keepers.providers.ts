import { type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { AppendOnlyRewrites } from '../../core/confirmation/append-only-rewrites.ts';
import { Aside } from '../../core/confirmation/aside.ts';
import { AsideSchedule } from '../../core/confirmation/aside-schedule.ts';
import { Backlog } from '../../core/backlog/backlog.ts';
import { Schedules } from '../../core/backlog/schedules.ts';
import { Candidates } from '../../core/confirmation/candidates.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { Decisions } from '../../core/confirmation/decisions.ts';
import { Eraser } from '../../core/confirmation/eraser.ts';
import { LogRequests } from '../../core/confirmation/log-requests.ts';
import { PoolKeeper } from '../../core/confirmation/pool-keeper.ts';
import { Retention } from '../../core/confirmation/retention.ts';
import { Sequencer } from '../../core/confirmation/sequencer.ts';
import { Learner } from '../../core/confirmation/learner.ts';
import { ServiceTimes } from '../../core/confirmation/service-times.ts';
import { BarredWorkers } from '../../core/confirmation/barred-workers.ts';
import { Slots } from '../../core/confirmation/slots.ts';
import { Strays } from '../../core/confirmation/strays.ts';
import { AuditKeeper } from '../../core/confirmation/audit-keeper.ts';
import { AuditFiles } from '../../core/audit/audit-files.ts';
import type { FileTree } from '../../ground/blobs/file-tree.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { Sweep } from '../../core/confirmation/sweep.ts';
import { STORAGE_ROOM_BYTES, StorageProbe } from '../../ground/blobs/storage-probe.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { redisAccess } from '../../ground/redis/connection.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { AttestorFiles } from './attestor-files.ts';
import { AttestorKeepers } from './attestor-keepers.ts';

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
  AppendOnlyRewrites,
  PoolKeeper,
  Strays,
  LogRequests,
  AuditKeeper,
] as const;

/** What watches the workers and the disk, for others to read. */
export function watchingProviders(files: AttestorFiles, logger: Logger): Provider[] {
  return [
    {
      provide: StorageProbe,
      useFactory: ({ kept }: BlobFolders) =>
        new StorageProbe({ stores: [kept], roomBytes: STORAGE_ROOM_BYTES, logger }),
      inject: [BlobFolders],
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

/** What keeps the heads of the audit log. */
export function auditProvider(files: AttestorFiles, log: FileTree, logger: Logger): Provider {
  return {
    provide: AuditKeeper,
    useFactory: (redis: Redis, keys: RedisKeys, sequencer: Sequencer) =>
      new AuditKeeper({
        redis,
        keys,
        audit: new AuditLog(redis, keys, keys.log),
        files: new AuditFiles(log),
        sequencer,
        keyId: files.signingKey.public.id,
        logger,
      }),
    inject: [Redis, RedisKeys, Sequencer],
  };
}

/** What finds and mends what was lost or spoilt. */
export function keepingProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  return [
    rewritesProvider(config, logger),
    {
      provide: PoolKeeper,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new PoolKeeper({ redis, keys, pools: files.catalog.pools(), queues: () => files.catalog.queues(), logger }),
      inject: [Redis, RedisKeys],
    },
    {
      provide: Strays,
      useFactory: (redis: Redis, keys: RedisKeys) =>
        new Strays({ redis, keys, pools: files.catalog.pools(), queues: () => files.catalog.queues(), logger }),
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
          queues: () => files.catalog.queues(),
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

function rewritesProvider(config: AttestorConfig, logger: Logger): Provider {
  const everyMs = config.COUNTERSIGN_AOF_REWRITE_S * 1_000;
  const access = redisAccess(config, 'attestor');
  return {
    provide: AppendOnlyRewrites,
    useFactory: (redis: Redis, keys: RedisKeys) => new AppendOnlyRewrites({ redis, keys, access, everyMs, logger }),
    inject: [Redis, RedisKeys],
  };
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
