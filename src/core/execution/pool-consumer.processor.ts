import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { DelayedError, type Job } from 'bullmq';
import { CONSUMER_OPTIONS } from '../../ground/bull/consumer.ts';
import type { QueuedJob } from '../../ground/bull/pool-queues.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { queueName } from '../../ground/redis/keys.ts';
import type { EngineModel } from '../engines/engine-kind.ts';
import type { LoadedEngines } from '../engines/loaded-engines.ts';
import { isJobId } from '../jobs/job-id.ts';
import type { JobRunner, Outcome } from './job-runner.ts';

const GIVEN_BACK: Outcome = { kind: 'later', afterMs: 1_000 };

/** Takes deliveries of one model from BullMQ and hands them to the runner. */
export class PoolConsumer extends WorkerHost {
  /** The model whose deliveries it takes. */
  readonly model: string;
  readonly #runner: JobRunner;
  readonly #engines: LoadedEngines;
  readonly #warn: (error: unknown) => void;

  constructor(model: string, runner: JobRunner, engines: LoadedEngines, logger: Logger) {
    super();
    this.model = model;
    this.#runner = runner;
    this.#engines = engines;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      logger.warn({ suppressed }, `queue: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /**
   * A consumer of the queue of this model. Nest reads a queue's name and its options off a class, and both
   * come from the catalog: each queue gets a class of its own.
   */
  static of(
    { pool, name }: EngineModel,
    concurrency: number,
    runner: JobRunner,
    engines: LoadedEngines,
    logger: Logger,
  ): PoolConsumer {
    class ConsumerOfQueue extends PoolConsumer {}
    Processor(
      { name: queueName(pool, name) },
      {
        ...CONSUMER_OPTIONS,
        concurrency,
        // Our epochs count the attempts; BullMQ must not give a job up by itself.
        maxStalledCount: 1_000_000,
      },
    )(ConsumerOfQueue);
    return new ConsumerOfQueue(name, runner, engines, logger);
  }

  async process(job: Job<QueuedJob>, token: string | undefined): Promise<null> {
    const id = deliveredId(job);
    if (id === undefined) return null;
    const engine = await this.#engines.ready(this.model);
    // What is taken while the server is away is given back unclaimed: no attempt is used up.
    const outcome: Outcome = engine === undefined ? GIVEN_BACK : await this.#runner.run(id, engine);
    if (outcome.kind === 'later') {
      await job.moveToDelayed(Date.now() + outcome.afterMs, token);
      throw new DelayedError();
    }
    return null;
  }

  @OnWorkerEvent('error')
  warn(error: Error): void {
    this.#warn(error);
  }
}

/** A pool's queue can be written by any worker of the pool: its entries are hostile input. */
function deliveredId(job: Job<QueuedJob>): string | undefined {
  const data: unknown = job.data;
  if (typeof data !== 'object' || data === null || !('id' in data) || typeof data.id !== 'string') return undefined;
  return isJobId(data.id) ? data.id : undefined;
}
