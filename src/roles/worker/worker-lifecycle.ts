import { setTimeout as pause } from 'node:timers/promises';
import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import type { Announcement } from '../../core/catalog/announcement.ts';
import { announcedModels } from '../../core/catalog/announced-models.ts';
import type { GpuWatch } from '../../core/gpus/gpu-watch.ts';
import type { LoadedEngines } from '../../core/engines/loaded-engines.ts';
import type { HardwareSession } from '../../core/execution/hardware-session.ts';
import type { HeartbeatLink } from '../../core/execution/heartbeat.ts';
import type { JobRunner } from '../../core/execution/job-runner.ts';
import type { DeliveryLink, DemandLink, StandingLink, StorageLink } from '../../core/execution/links.ts';
import { ModelSwaps } from '../../core/execution/model-swaps.ts';
import { askToJoin, type JoinToken } from '../../core/registry/invitation.ts';
import { gauge } from '../../ground/metrics/process-metrics.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import { drainMsOf } from '../../ground/process/drain-time.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { WorkerConfig } from './worker-config.ts';

const CLOSE_MS = 3_000;
const LOOK_EVERY_MS = 20;

interface WorkerParts {
  readonly engines: LoadedEngines;
  readonly heartbeat: HeartbeatLink;
  readonly runner: JobRunner;
  readonly consumers: DeliveryLink;
  readonly standing: StandingLink;
  readonly storage: StorageLink;
  /** Absent where no program gets evidence of this machine's hardware. */
  readonly hardware: HardwareSession | undefined;
  readonly gpus: GpuWatch;
  /** How many jobs of a model its engine runs at once. */
  readonly slotsOf: (model: string) => number;
  /** What waits for models that take turns. */
  readonly demand: DemandLink;
  /** How often that is asked (ms). */
  readonly demandEveryMs: number;
  readonly key: SigningKey;
  /** Asks to be enrolled; absent where somebody enrolled this worker by hand. */
  readonly token: JoinToken | undefined;
  readonly config: Pick<
    WorkerConfig,
    'COUNTERSIGN_POOL' | 'COUNTERSIGN_DRAIN_MS' | 'COUNTERSIGN_DRAIN_ON' | 'COUNTERSIGN_RESIDENT'
  >;
  readonly logger: Logger;
}

/** The order in which a worker begins and ends. */
export class WorkerLifecycle implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #parts: WorkerParts;
  readonly #startedAt = new Date().toISOString();
  readonly #swaps: ModelSwaps | undefined;
  #isLeaving = false;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
    const { engines, demand, demandEveryMs, config } = parts;
    gauge('countersign_models_away', () => engines.away().length);
    gauge('countersign_models_loaded', () => engines.all().length);
    const { COUNTERSIGN_RESIDENT: resident, COUNTERSIGN_POOL: pool } = config;
    const mayTake = () => this.#problem() === undefined;
    if (resident !== undefined && engines.turnTakers().length > 0)
      this.#swaps = new ModelSwaps({ ...parts, demand, pool, resident, lookEveryMs: demandEveryMs, mayTake });
  }

  /**
   * The heartbeat first, which keeps what is claimed; then the queues; and only then is the worker announced.
   */
  async onApplicationBootstrap(): Promise<void> {
    const { engines, heartbeat, runner, consumers, standing, storage, hardware, gpus, logger } = this.#parts;
    heartbeat.listen({
      lost: (job, lease) => runner.stop(job, 'lease_lost', lease),
      cancelled: (job) => runner.stop(job, 'cancelled'),
      died: (error) => {
        logger.fatal(`the heartbeat died: ${messageOf(error)}`);
        process.exit(1);
      },
    });
    await consumers.begin();
    engines.watch((model) => this.#serve(model));
    const idle = [...engines.away(), ...engines.resting().map(({ model }) => model)];
    await Promise.all(idle.map(({ name }) => consumers.take(name, false)));
    standing.watch(() => this.#stand());
    storage.start(() => this.#stand());
    const { id, models } = this.#announce();
    hardware?.start();
    gpus.start(() => this.#announce());
    this.#swaps?.start();
    logger.info({ worker: id, models: models.map(({ name }) => name) }, 'worker consuming');
  }

  /**
   * Takes nothing new, gives back what has not begun, lets the rest finish for a while, and leaves. That it
   * leaves is said only when nothing can come any more, and what is held is known: whoever ends a process
   * that says it is idle ends no job.
   */
  async beforeApplicationShutdown(signal?: string): Promise<void> {
    const { engines, heartbeat, runner, consumers, standing, storage, hardware, gpus, config } = this.#parts;
    this.#isLeaving = true;
    this.#swaps?.stop();
    await consumers.pause(CLOSE_MS);
    runner.leave('unbegun');
    await until(() => runner.claiming === 0, CLOSE_MS);
    this.#announce();
    await until(() => runner.inFlight === 0, drainMsOf(config, signal));
    runner.leave('all');
    await until(() => runner.inFlight === 0, CLOSE_MS);
    await consumers.close(CLOSE_MS);
    await hardware?.stop();
    // A Redis or a disk that does not answer holds up nobody who leaves.
    void standing.stop();
    void storage.stop();
    void gpus.stop();
    await heartbeat.stop();
    await engines.close();
  }

  /** A model has gone with its engine, or is back: what waits for that engine here may run elsewhere. */
  #serve(model: string): void {
    const { engines, runner, consumers, logger } = this.#parts;
    const isServed = engines.get(model) !== undefined;
    if (!isServed) runner.stopReady('engine_away', model);
    consumers.take(model, isServed).catch((error: unknown) => {
      logger.warn({ model }, `its consumer: ${messageOf(error)}`);
    });
    this.#announce();
  }

  /**
   * Whoever may not work takes nothing, and gives back what it holds: it would count for nothing. Whoever can
   * store nothing takes nothing either.
   */
  #stand(): void {
    const { runner, consumers, standing, logger } = this.#parts;
    const { bar } = standing;
    consumers.hold(this.#problem() !== undefined).catch((error: unknown) => {
      logger.warn(`its consumers: ${messageOf(error)}`);
    });
    if (bar !== undefined) runner.stopAll('barred');
    this.#announce();
  }

  /** Why no job is taken now. */
  #problem(): string | undefined {
    return this.#parts.standing.bar ?? this.#parts.storage.problem;
  }

  /** Only what can be served now is promised. */
  #announce(): Omit<Announcement, 'at'> {
    const { engines, heartbeat, slotsOf, gpus, key, config } = this.#parts;
    const join = this.#ask();
    const problem = this.#problem();
    const away = engines.away();
    const announcement: Omit<Announcement, 'at'> = {
      id: workerIdOf(key.public),
      role: 'worker',
      pool: config.COUNTERSIGN_POOL,
      publicKey: key.public.raw,
      startedAt: this.#startedAt,
      models: announcedModels(engines, slotsOf),
      ...(away.length === 0 ? {} : { away }),
      state: this.#isLeaving ? 'draining' : problem === undefined ? 'consuming' : 'paused',
      ...(problem === undefined ? {} : { problem }),
      ...(join === undefined ? {} : { join }),
      inFlight: 0,
      ...(gpus.gpus === undefined ? {} : { gpus: [...gpus.gpus] }),
    };
    heartbeat.announce(announcement);
    return announcement;
  }

  /** Whoever is on no list, and was invited, asks to be let in. */
  #ask(): Announcement['join'] {
    const { standing, token, key, logger } = this.#parts;
    if (standing.bar !== 'WORKER_UNKNOWN' || token === undefined) return undefined;
    logger.info(
      { invitation: token.invitation },
      'this worker is on no list; it asks the keeper of the list to be let in',
    );
    return askToJoin(token, workerIdOf(key.public));
  }
}

async function until(isDone: () => boolean, withinMs: number): Promise<void> {
  const end = performance.now() + withinMs;
  while (!isDone() && performance.now() < end) await pause(LOOK_EVERY_MS);
}
