import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { BeforeApplicationShutdown } from '@nestjs/common';
import type { Worker } from 'bullmq';
import { Collateral, readCollateralSources } from '../../core/attestation/tee/tee-collateral.ts';
import { BlobStore } from '../../ground/blobs/blob-store.ts';
import { FairQueues } from '../../ground/bull/fair-queues.ts';
import type { Engine } from '../../core/engines/engine.ts';
import { loadEngine } from '../../core/engines/load-engine.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { ANNOUNCE_EVERY_MS, announce, withdraw } from '../../core/catalog/announcement.ts';
import { readCatalog, type Catalog } from '../../core/catalog/catalog.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { openRedis, redisAccess, whenReady } from '../../ground/redis/connection.ts';
import { requireFitRedis } from '../../ground/redis/requirements.ts';
import type { AttestorConfig } from './attestor-config.ts';
import { AuditDraws } from '../../core/confirmation/audit-draws.ts';
import { readCalibrations } from '../../core/attestation/calibrations.ts';
import { Equipment } from '../../core/attestation/methods/equipment.ts';
import { servedMethods } from '../../core/attestation/methods/methods.ts';
import { servedModels } from '../../core/attestation/methods/served-models.ts';
import { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import { HardwareSessions, readTeePolicy } from '../../core/confirmation/hardware-sessions.ts';
import { Intake } from '../../core/confirmation/intake.ts';
import { WitnessClient } from '../../proof/tlog/witness-client.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { Judge } from '../../core/confirmation/judge.ts';
import { Sequencer } from '../../core/confirmation/sequencer.ts';
import { RECOMPUTE_JOB, type Recomputation } from '../../core/confirmation/recomputation.ts';
import { recomputeConsumer } from '../../core/confirmation/recompute.processor.ts';
import { Rulings } from '../../core/confirmation/rulings.ts';
import { Suspicions } from '../../core/confirmation/suspicions.ts';
import { Sweep } from '../../core/confirmation/sweep.ts';

const REDIS_START_MS = 10_000;
/** Tomorrow's draw is committed in the log well before tomorrow. */
const DRAW_EVERY_MS = 3_600_000;
const BLOB_SWEEP_MS = 3_600_000;
/** A job may be open for a day before it is kept; blobs outlive both. */
const MAX_OPEN_MS = 90_000_000;

/** One attestor. Any number may run; they share the work and cannot contradict each other. */
export class AttestorProcess implements BeforeApplicationShutdown {
  readonly #closers: (() => unknown)[];

  private constructor(closers: (() => unknown)[]) {
    this.#closers = closers;
  }

  static async start(config: AttestorConfig, logger: Logger): Promise<AttestorProcess> {
    const signingKey = readSigningKey(config.COUNTERSIGN_ATTESTOR_KEY_FILE);
    const keyring = readKeyring(config.COUNTERSIGN_KEYRING);
    if (!keyring.of('attestor').some((key) => key.id === signingKey.public.id)) {
      throw new CodedError(
        'key_file_unfit',
        `The attestor's key ${signingKey.public.id.slice(0, 16)}… is not in ${config.COUNTERSIGN_KEYRING}: nobody would believe its verdicts.`,
      );
    }
    const logKey = readSigningKey(config.COUNTERSIGN_TLOG_KEY_FILE);
    const log = keyring.logPolicy.logs.find(({ key }) => key.key.id === logKey.public.id);
    if (log === undefined) {
      throw new CodedError(
        'key_file_unfit',
        `The log's key ${logKey.public.id.slice(0, 16)}… is not in the log policy of ${config.COUNTERSIGN_KEYRING}: nobody would believe its checkpoints.`,
      );
    }
    const catalog = readCatalog(config.COUNTERSIGN_CATALOG);
    const keys = new RedisKeys(config.COUNTERSIGN_SHARD);
    const access = redisAccess(config, 'attestor');
    const redis = openRedis(access, 'patient', logger);
    const blocking = openRedis(access, 'patient', logger);
    // Redis takes some 20 KB of each connection before it syncs its file: what is large has its own.
    const logRedis = openRedis(access, 'patient', logger);
    try {
      await whenReady(redis, REDIS_START_MS);
      await requireFitRedis(redis, 'attestor');
    } catch (cause) {
      for (const connection of [redis, blocking, logRedis]) connection.disconnect();
      if (cause instanceof CodedError) throw cause;
      throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, { cause });
    }

    const engines = await loadEngines(catalog, config.COUNTERSIGN_RECOMPUTE_MODELS);
    const id = `a-${signingKey.public.id.slice(0, 16)}-${randomBytes(4).toString('hex')}`;
    const queues = FairQueues.ofPools(redis, keys);
    const blobs = new BlobStore(config.COUNTERSIGN_BLOBS);
    const rulings = new Rulings(redis, keys, queues);
    const sequencer = new Sequencer({
      redis: logRedis,
      keys,
      files: new LogFiles(config.COUNTERSIGN_TLOG),
      key: logKey,
      origin: log.key.name,
      witnesses: new WitnessClient(keyring.logPolicy),
      keepMs: config.COUNTERSIGN_KEEP_MS + MAX_OPEN_MS,
      logger,
    });
    await sequencer.start();
    const calibrations = readCalibrations(config.COUNTERSIGN_CALIBRATIONS);
    const enrolled = new EnrolledWorkers({
      path: config.COUNTERSIGN_ENROLLED_WORKERS,
      signers: keyring.of('registry'),
      redis,
      keys,
      record: (keyId, payload) => sequencer.logDocument('workers', keyId, payload),
      logger,
    });
    await enrolled.start();
    const draws = new AuditDraws(signingKey);
    const drawDays = () => Promise.all([draws.commit(sequencer, Date.now()), draws.tell(redis, keys, Date.now())]);
    await drawDays();
    const drawing = setInterval(
      () => void drawDays().catch((error: unknown) => logger.warn(`draws: ${messageOf(error)}`)),
      DRAW_EVERY_MS,
    );
    // What verdicts rest on stands in the log before the first of them.
    const applied = [readFileSync(config.COUNTERSIGN_KEYRING), ...[...calibrations.values()].map(({ bytes }) => bytes)];
    await Promise.all(
      applied.map((bytes, at) =>
        sequencer.logDocument(at === 0 ? 'keyring' : 'calibration', signingKey.public.id, bytes),
      ),
    );
    const accepted =
      config.COUNTERSIGN_TEE_POLICY === undefined ? undefined : readTeePolicy(config.COUNTERSIGN_TEE_POLICY);
    if (accepted !== undefined) await sequencer.logDocument('tee-policy', signingKey.public.id, accepted.bytes);
    const hardware =
      accepted &&
      new HardwareSessions({
        redis,
        keys,
        policy: accepted.policy,
        collateral: new Collateral(
          config.COUNTERSIGN_TEE_COLLATERAL === undefined
            ? { version: 1 }
            : readCollateralSources(config.COUNTERSIGN_TEE_COLLATERAL),
        ),
        blobs,
        keyOf: (worker) => {
          const key = enrolled.find(worker, Date.now());
          return typeof key === 'string' ? undefined : key;
        },
        logger,
      });
    hardware?.start();
    const equipment = new Equipment({ engines, calibrations, hardware, auditShare: config.COUNTERSIGN_AUDIT_SHARE });
    const judge = new Judge({
      redis,
      keys,
      blobs,
      signingKey,
      keyring,
      enrolled,
      catalog,
      equipment,
      draws,
      suspicions: new Suspicions(redis, keys, logger),
    });
    const recomputations = new FairQueues<Recomputation>(redis, keys, keys.attestorQueue, RECOMPUTE_JOB);
    const intake = new Intake({
      redis,
      blocking,
      keys,
      judge,
      rulings,
      sequencer,
      enrolled,
      recomputations,
      consumer: id,
      logger,
    });
    await intake.start();
    const sweep = new Sweep({
      redis,
      keys,
      queues,
      intake,
      everyMs: config.COUNTERSIGN_SWEEP_MS,
      keepMs: config.COUNTERSIGN_KEEP_MS,
      keepJobs: config.COUNTERSIGN_KEEP_JOBS,
      logger,
    });
    sweep.start();
    const consumer =
      engines.size === 0
        ? undefined
        : recomputeConsumer({
            access,
            redis,
            keys,
            judge,
            intake,
            concurrency: config.COUNTERSIGN_RECOMPUTE_CONCURRENCY,
            logger,
          });

    const startedAt = new Date().toISOString();
    const beat = () =>
      announce(redis, keys, {
        id,
        role: 'attestor',
        startedAt,
        models: servedModels(catalog, equipment),
        state: 'consuming',
        inFlight: 0,
      }).catch(() => undefined);
    await beat();
    const heartbeat = setInterval(() => void beat(), ANNOUNCE_EVERY_MS);
    const blobSweep = setInterval(() => void blobs.removeOld(config.COUNTERSIGN_KEEP_MS + MAX_OPEN_MS), BLOB_SWEEP_MS);
    const methods = Object.fromEntries(
      catalog.all().map((model) => [model.name, ['binding', ...servedMethods(equipment, model)].join(' ')]),
    );
    logger.info({ attestor: id, methods }, 'attestor consuming');
    return new AttestorProcess([
      () => clearInterval(heartbeat),
      () => clearInterval(blobSweep),
      () => enrolled.stop(),
      () => hardware?.stop(),
      () => clearInterval(drawing),
      () => sweep.stop(),
      () => intake.stop(),
      () => closeWithin(consumer),
      () => sequencer.stop(),
      () => withdraw(redis, keys, 'attestor', id),
      () => Promise.all([...engines.values()].map((engine) => engine.close())),
      () => redis.disconnect(),
      () => logRedis.disconnect(),
    ]);
  }

  /** Finishes the batch in hand and leaves; what it has not acknowledged is another's. */
  async beforeApplicationShutdown(): Promise<void> {
    for (const close of this.#closers)
      await Promise.race([close(), new Promise((resolve) => setTimeout(resolve, 3_000).unref())]);
  }
}

async function closeWithin(consumer: Worker<Recomputation> | undefined): Promise<void> {
  await consumer?.close();
}

/** The engines of the models named, or of all that repeat themselves or can be replayed. */
async function loadEngines(catalog: Catalog, named: string | undefined): Promise<Map<string, Engine>> {
  if (named === 'none') return new Map();
  const wanted = named?.split(',').map((name) => name.trim());
  const models = catalog
    .all()
    .filter(({ name, capabilities: { repeats, replay } }) =>
      wanted === undefined ? repeats !== 'no' || replay !== undefined : wanted.includes(name),
    );
  const engines = new Map<string, Engine>();
  for (const engine of await Promise.all(models.map((model) => loadEngine(model.reference())))) {
    if (engine.repeatable === 'no' && engine.replay === undefined)
      throw new CodedError(
        'config_invalid',
        `COUNTERSIGN_RECOMPUTE_MODELS names ${engine.model.name}, which neither repeats itself nor can be replayed.`,
      );
    engines.set(engine.model.name, engine);
  }
  const unknown = wanted?.find((name) => !engines.has(name));
  if (unknown !== undefined)
    throw new CodedError(
      'config_invalid',
      `COUNTERSIGN_RECOMPUTE_MODELS names ${unknown}, which the catalog does not have.`,
    );
  return engines;
}
