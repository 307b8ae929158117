import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { DelayedError, type Job } from 'bullmq';
import { CONSUMER_OPTIONS } from '../../ground/bull/consumer.ts';
import type { QueuedJob } from '../../ground/bull/pool-queues.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { queueName } from '../../ground/redis/keys.ts';
import type { Engine } from '../engines/engine.ts';
import { isJobId } from '../jobs/job-id.ts';
import type { JobRunner } from './job-runner.ts';

/** Takes deliveries of one model from BullMQ and hands them to the runner. */
export class PoolConsumer extends WorkerHost {
  readonly #runner: JobRunner;
  readonly #engine: Engine;
  readonly #warn: (error: unknown) => void;

  constructor(runner: JobRunner, engine: Engine, logger: Logger) {
    super();
    this.#runner = runner;
    this.#engine = engine;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      logger.warn({ suppressed }, `queue: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /**
   * A consumer of the queue of this engine's model. Nest reads a queue's name and its options off a class,
   * and both are known when the engine is loaded: each queue gets a class of its own.
   */
  static of(pool: string, concurrency: number, runner: JobRunner, engine: Engine, logger: Logger): PoolConsumer {
    class ConsumerOfQueue extends PoolConsumer {}
    Processor(
      { name: queueName(pool, engine.model.name) },
      {
        ...CONSUMER_OPTIONS,
        concurrency,
        // Our epochs count the attempts; BullMQ must not give a job up by itself.
        maxStalledCount: 1_000_000,
      },
    )(ConsumerOfQueue);
    return new ConsumerOfQueue(runner, engine, logger);
  }

  async process(job: Job<QueuedJob>, token: string | undefined): Promise<null> {
    const id = deliveredId(job);
    if (id === undefined) return null;
    const outcome = await this.#runner.run(id, this.#engine);
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
