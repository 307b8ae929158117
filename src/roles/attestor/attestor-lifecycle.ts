import { setTimeout as pause } from 'node:timers/promises';
import type { BullRegistrar } from '@nestjs/bullmq';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { Redis } from 'ioredis';
import type { AuditDraws } from '../../core/confirmation/audit-draws.ts';
import type { EnrolledWorkers } from '../../core/confirmation/enrolled-workers.ts';
import type { Eraser } from '../../core/confirmation/eraser.ts';
import type { HardwareSessions } from '../../core/confirmation/hardware-sessions.ts';
import type { Intakes } from '../../core/confirmation/intakes.ts';
import type { RecomputeProcessor } from '../../core/confirmation/recompute.processor.ts';
import type { Sealer } from '../../core/confirmation/sealer.ts';
import type { Sequencer } from '../../core/confirmation/sequencer.ts';
import type { JobArchive } from '../../core/jobs/job-archive.ts';
import type { EngineChildren } from '../../core/engines/engine-children.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { AttestorConfig } from './attestor-config.ts';
import type { AttestorFiles } from './attestor-files.ts';
import type { AttestorKeepers } from './attestor-keepers.ts';
import type { AttestorPresence } from './attestor-presence.ts';

/** A job may be open for a day before it is kept; blobs outlive both. */
const MAX_OPEN_MS = 90_000_000;

/** Tomorrow's draw is committed in the log well before tomorrow. */
const DRAW_EVERY_MS = 3_600_000;
const BLOB_SWEEP_MS = 3_600_000;
/** One part that does not end holds up the others for no longer than this. */
const STOP_MS = 3_000;

interface AttestorParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly blobs: BlobFolders;
  readonly archive: JobArchive;
  readonly engines: EngineChildren;
  readonly sequencer: Sequencer;
  readonly enrolled: EnrolledWorkers;
  readonly draws: AuditDraws;
  readonly hardware: HardwareSessions | undefined;
  readonly intakes: Intakes;
  readonly sealer: Sealer;
  readonly eraser: Eraser;
  readonly keepers: AttestorKeepers;
  readonly processor: RecomputeProcessor | undefined;
  readonly presence: AttestorPresence;
  readonly registrar: BullRegistrar;
  readonly id: string;
  readonly config: AttestorConfig;
  readonly files: AttestorFiles;
  readonly logger: Logger;
}

/** The order in which an attestor begins and ends. */
export class AttestorLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #parts: AttestorParts;
  readonly #drawing: PeriodicTask;
  readonly #cleaning: PeriodicTask;

  constructor(parts: AttestorParts) {
    this.#parts = parts;
    const warn = (error: unknown) => parts.logger.warn(`attestor: ${messageOf(error)}`);
    this.#drawing = new PeriodicTask(() => this.#draw(), warn, DRAW_EVERY_MS);
    this.#cleaning = new PeriodicTask(() => this.#clean(), warn, BLOB_SWEEP_MS);
  }

  /** What verdicts rest on stands in the log before the first of them; then cases are taken. */
  async onApplicationBootstrap(): Promise<void> {
    const { sequencer, enrolled, hardware, intakes, sealer, keepers, processor, registrar, presence, id, logger } =
      this.#parts;
    sequencer.onPublished(() => sealer.wake());
    sequencer.start();
    sealer.start();
    await enrolled.start();
    await this.#draw();
    await this.#logDocuments();
    hardware?.start();
    intakes.start();
    keepers.start();
    registrar.register();
    await processor?.worker.waitUntilReady();
    await presence.start();
    this.#drawing.start(DRAW_EVERY_MS);
    this.#cleaning.start(BLOB_SWEEP_MS);
    logger.info({ attestor: id, methods: presence.methods() }, 'attestor consuming');
  }

  /** Finishes the batch in hand and leaves; what it has not acknowledged is another attestor's. */
  async beforeApplicationShutdown(): Promise<void> {
    const { sequencer, sealer, enrolled, hardware, intakes, keepers, processor, presence, engines } = this.#parts;
    enrolled.stop();
    for (const stopped of [
      () => this.#drawing.stop(),
      () => this.#cleaning.stop(),
      () => hardware?.stop(),
      () => keepers.stop(),
      () => intakes.stop(),
      () => processor?.worker.close(),
      () => sequencer.stop(),
      () => sealer.stop(),
      () => presence.stop(),
      () => engines.close(),
    ])
      await withinBound(stopped());
    // Where Redis did not answer, the polite close waits for ever, and Nest would wait for it.
    await withinBound(processor?.worker.disconnect());
  }

  async #draw(): Promise<number> {
    const { draws, sequencer, redis, keys } = this.#parts;
    await draws.keep(sequencer, redis, keys, Date.now());
    return DRAW_EVERY_MS;
  }

  async #clean(): Promise<number> {
    const { blobs, archive, eraser, config, files } = this.#parts;
    const { COUNTERSIGN_KEEP_MS: keepMs, COUNTERSIGN_ARCHIVE_MS: archiveMs } = config;
    await archive.removeOld(Date.now() - archiveMs);
    await archive.removeUnfinished(BLOB_SWEEP_MS);
    // What a record names lives as long as the record, in Redis or in the archive.
    const blobAgeMs = Math.max(keepMs, archiveMs) + MAX_OPEN_MS;
    await blobs.removeOld(files.catalog.pools(), blobAgeMs);
    await eraser.tidy();
    await archive.erasures.removeDays(Date.now() - blobAgeMs);
    return BLOB_SWEEP_MS;
  }

  async #logDocuments(): Promise<void> {
    const { sequencer, files } = this.#parts;
    const { id } = files.signingKey.public;
    await Promise.all([
      sequencer.logDocument('keyring', id, files.keyringBytes),
      ...[...files.calibrations.values()].map(({ bytes }) => sequencer.logDocument('calibration', id, bytes)),
      ...(files.tee === undefined ? [] : [sequencer.logDocument('tee-policy', id, files.tee.bytes)]),
    ]);
  }
}

function withinBound(work: unknown): Promise<unknown> {
  return Promise.race([Promise.resolve(work), pause(STOP_MS, undefined, { ref: false })]);
}
