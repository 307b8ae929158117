import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { DelayedError, type Job } from 'bullmq';
import { CONSUMER_OPTIONS } from '../../ground/bull/consumer.ts';
import type { Delivery, PoolQueues } from '../../ground/bull/pool-queues.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { queueName } from '../../ground/redis/keys.ts';
import type { EngineModel } from '../engines/engine-kind.ts';
import type { LoadedEngines } from '../engines/loaded-engines.ts';
import { deliveredJob } from '../backlog/delivery-name.ts';
import { EnginePlaces } from './engine-places.ts';
import type { JobRunner, Outcome } from './job-runner.ts';
import { runPack } from './pack.ts';

/** No honest delivery has more jobs. */
const MOST_JOBS = 16;
/** So many deliveries wait for each place of an engine, at most. */
export const READY_FOR_EACH = 1;
/**
 * What is taken while the worker is paused, or the model's server away, is given back unclaimed: no attempt
 * is used up.
 */
const GIVEN_BACK: Outcome = { kind: 'later', afterMs: 1_000 };

/** What every consumer of a worker uses. */
export interface ConsumerParts {
  readonly runner: JobRunner;
  readonly engines: LoadedEngines;
  /** Where the rest of a pack is given back. */
  readonly queues: PoolQueues;
  readonly logger: Logger;
}

/** Takes deliveries of one model from BullMQ and hands their jobs to the runner. */
export class PoolConsumer extends WorkerHost {
  /** The model whose deliveries it takes. */
  readonly model: string;
  readonly #queue: string;
  readonly #slots: number;
  readonly #places: EnginePlaces;
  readonly #parts: ConsumerParts;
  readonly #warn: (error: unknown) => void;

  /** `slots`: how many jobs of the model its engine runs at once. */
  constructor(model: string, queue: string, slots: number, parts: ConsumerParts) {
    super();
    this.model = model;
    this.#queue = queue;
    this.#slots = slots;
    this.#places = new EnginePlaces(slots);
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `queue: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /**
   * A consumer of the queue of this model. Nest reads a queue's name and its options off a class, and both
   * come from the catalog: each queue gets a class of its own.
   */
  static of({ pool, name }: EngineModel, slots: number, parts: ConsumerParts): PoolConsumer {
    class ConsumerOfQueue extends PoolConsumer {}
    const queue = queueName(pool, name);
    Processor(
      { name: queue },
      {
        ...CONSUMER_OPTIONS,
        concurrency: slots,
        // Our epochs count the attempts; BullMQ must not give a job up by itself.
        maxStalledCount: 1_000_000,
      },
    )(ConsumerOfQueue);
    return new ConsumerOfQueue(name, queue, slots, parts);
  }

  async process(job: Job<Delivery>, token: string | undefined): Promise<null> {
    const jobs = deliveredJobs(job);
    this.#lookAhead();
    const { names, afterMs } = await runPack([...jobs.keys()], {
      run: (name) => this.#run(jobs.get(name) ?? ''),
      claimAhead: () => this.#parts.runner.claimAhead(this.model),
      giveBack: (rest) =>
        this.#parts.queues.add(
          this.#queue,
          rest.map((name) => [name]),
        ),
      mayBegin: () => !this.worker.isPaused(),
    });
    this.#lookAhead();
    if (names.length === 0) return null;
    if (names.length < jobs.size) await job.updateData({ jobs: names });
    await job.moveToDelayed(Date.now() + afterMs, token);
    throw new DelayedError();
  }

  /** Takes as many deliveries as there are places, and where jobs are held ready, as many again. */
  #lookAhead(): void {
    this.worker.concurrency = this.#slots * (this.#parts.runner.holdsReady(this.model) ? 1 + READY_FOR_EACH : 1);
  }

  async #run(id: string): Promise<Outcome> {
    // One that was told to pause may be waiting for a delivery still, and is handed the next one.
    if (this.worker.isPaused()) return GIVEN_BACK;
    const engine = await this.#parts.engines.ready(this.model);
    // Its server may have taken a while to answer.
    return engine === undefined || this.worker.isPaused()
      ? GIVEN_BACK
      : this.#parts.runner.run(id, engine, this.#places);
  }

  @OnWorkerEvent('error')
  warn(error: Error): void {
    this.#warn(error);
  }

  /** What fails outside an engine, such as a claim without Redis, is delivered again by the attestor. */
  @OnWorkerEvent('failed')
  failed(_job: Job | undefined, error: Error): void {
    this.#warn(error);
  }
}

/**
 * The ids of the jobs of a delivery by the names of their own deliveries. A pool's queue can be written by
 * any worker of the pool: its entries are hostile input.
 */
export function deliveredJobs({ data }: { readonly data: unknown }): Map<string, string> {
  if (typeof data !== 'object' || data === null || !('jobs' in data) || !Array.isArray(data.jobs)) return new Map();
  return new Map(
    data.jobs.slice(0, MOST_JOBS).flatMap((name: unknown) => {
      const id = deliveredJob(name);
      return id === undefined ? [] : [[String(name), id] as const];
    }),
  );
}
