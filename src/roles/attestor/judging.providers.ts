import { type Provider } from '@nestjs/common';
import { Redis } from 'ioredis';
import { Equipment } from '../../core/attestation/methods/equipment.ts';
import type { Collateral } from '../../core/attestation/tee/tee-collateral.ts';
import { Aside } from '../../core/confirmation/aside.ts';
import { AuditDraws } from '../../core/confirmation/audit-draws.ts';
import { Candidates } from '../../core/confirmation/candidates.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { HardwareSessions } from '../../core/confirmation/hardware-sessions.ts';
import { Decisions } from '../../core/confirmation/decisions.ts';
import { Judge } from '../../core/confirmation/judge.ts';
import { RecomputeQueue } from '../../core/confirmation/recompute-queue.ts';
import { Rulings } from '../../core/confirmation/rulings.ts';
import { recoverLog } from '../../core/confirmation/log-recovery.ts';
import { Sealer } from '../../core/confirmation/sealer.ts';
import { Sequencer } from '../../core/confirmation/sequencer.ts';
import { Learner } from '../../core/confirmation/learner.ts';
import { ServiceTimes } from '../../core/confirmation/service-times.ts';
import { Suspicions } from '../../core/confirmation/suspicions.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { EngineChildren } from '../../core/engines/engine-children.ts';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import type { FileTree } from '../../ground/blobs/file-tree.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { RedisConnections } from '../../ground/redis/connections.ts';
import { Durability, durabilityLevel } from '../../ground/redis/durability.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { WitnessClient } from '../../proof/tlog/witness-client.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { AttestorFiles } from './attestor-files.ts';

/** The log of verdicts, and what is drawn and enrolled by it. */
export function logProviders(config: AttestorConfig, files: AttestorFiles, log: FileTree, logger: Logger): Provider[] {
  return [
    { provide: JobArchive, useValue: new JobArchive(log) },
    {
      provide: Sequencer,
      useFactory: (connections: RedisConnections, keys: RedisKeys, archive: JobArchive) => {
        const { COUNTERSIGN_KEEP_MS: keepMs, COUNTERSIGN_LOG_RECOVERY: recovery } = config;
        const parts = {
          redis: connections.named('log'),
          keys,
          files: new LogFiles(log),
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

/** What judges a case. */
export function judgeProviders(config: AttestorConfig, files: AttestorFiles, logger: Logger): Provider[] {
  const { signingKey, keyring, catalog } = files;
  return [
    {
      provide: HardwareSessions,
      useFactory: async (redis: Redis, keys: RedisKeys, blobs: BlobFolders, enrolled: EnrolledWorkers) =>
        files.tee &&
        new HardwareSessions({
          redis,
          keys,
          pools: catalog.pools(),
          policy: files.tee.policy,
          collateral: await collateral(config),
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

export function equipmentOf(
  config: AttestorConfig,
  { calibrations }: AttestorFiles,
  engines: Equipment['engines'],
  hardware: HardwareSessions | undefined,
): Equipment {
  return new Equipment({ engines, calibrations, hardware, auditShare: config.COUNTERSIGN_AUDIT_SHARE });
}

/** Loaded only where there is a policy: the packages that read collateral are large. */
async function collateral({ COUNTERSIGN_TEE_COLLATERAL: path }: AttestorConfig): Promise<Collateral> {
  const { Collateral, readCollateralSources } = await import('../../core/attestation/tee/tee-collateral.ts');
  return new Collateral(path === undefined ? { version: 1 } : readCollateralSources(path));
}

/** What rules on cases. */
export function decisionProviders(files: AttestorFiles, logger: Logger): Provider[] {
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
