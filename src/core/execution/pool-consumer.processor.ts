import { DelayedError, Worker, type Job } from 'bullmq';
import type { QueuedJob } from '../../ground/bull/fair-queues.ts';
import type { Engine } from '../engines/engine.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { redisOptions, type RedisAccess } from '../../ground/redis/connection.ts';
import { isJobId } from '../jobs/job-id.ts';
import type { JobRunner } from './job-runner.ts';

/**
 * Takes deliveries of one model from BullMQ and hands them to the runner. BullMQ's own locks and stall checks only
 * bring a delivery again; whether it is still of use is decided by the claim.
 */
export class PoolConsumer {
  readonly #worker: Worker<QueuedJob>;

  constructor(options: {
    access: RedisAccess;
    keys: RedisKeys;
    pool: string;
    engine: Engine;
    concurrency: number;
    runner: JobRunner;
    logger: Logger;
  }) {
    const { runner, engine } = options;
    const process = async (job: Job<QueuedJob>, token: string | undefined): Promise<null> => {
      const id = deliveredId(job);
      if (id === undefined) return null;
      const outcome = await runner.run(id, engine);
      if (outcome.kind === 'later') {
        await job.moveToDelayed(Date.now() + outcome.afterMs, token);
        throw new DelayedError();
      }
      return null;
    };
    this.#worker = new Worker<QueuedJob>(queueName(options.pool, engine.model.name), process, {
      connection: redisOptions(options.access, 'patient'),
      prefix: options.keys.poolQueues,
      concurrency: options.concurrency,
      lockDuration: 15_000,
      stalledInterval: 5_000,
      // Our epochs count the attempts; BullMQ must not give a job up by itself.
      maxStalledCount: 1_000_000,
      // Read again this often although the queue was empty; it also bounds how long a dead connection goes unnoticed.
      drainDelay: 5,
      runRetryDelay: 1_000,
      skipVersionCheck: true,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    });
    this.#worker.on(
      'error',
      rateLimited(5_000, (error, suppressed) =>
        options.logger.warn({ suppressed }, `queue: ${messageOf(error).slice(0, 300)}`),
      ),
    );
  }

  async whenConsuming(): Promise<void> {
    await this.#worker.waitUntilReady();
  }

  /** Takes no new deliveries from now on. */
  async pause(): Promise<void> {
    await this.#worker.pause(true);
  }

  /** Closes the connections; a Redis that does not answer cannot hold this up for longer than `withinMs`. */
  async close(withinMs: number): Promise<void> {
    const closing = this.#worker.close();
    const timeout = new Promise<'late'>((resolve) => setTimeout(() => resolve('late'), withinMs).unref());
    if ((await Promise.race([closing, timeout])) === 'late') await Promise.race([this.#worker.close(true), timeout]);
  }
}

/** A pool's queue can be written by any worker of the pool: its entries are hostile input. */
function deliveredId(job: Job<QueuedJob>): string | undefined {
  const data: unknown = job.data;
  if (typeof data !== 'object' || data === null || !('id' in data) || typeof data.id !== 'string') return undefined;
  return isJobId(data.id) ? data.id : undefined;
}
