import { setTimeout as sleep } from 'node:timers/promises';
import { DelayedError, Worker, type Job } from 'bullmq';
import type { QueuedJob } from '../../ground/bull/fair-queues.ts';
import type { Engine } from '../engines/engine.ts';
import { isJobId } from '../jobs/job-id.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { redisOptions, type RedisAccess } from '../../ground/redis/connection.ts';
import type { JobRunner } from './job-runner.ts';

/**
 * Takes deliveries of one model from BullMQ and hands them to the runner. BullMQ's locks and stall checks can
 * only cause a second delivery; the claim decides whether a delivery is still needed.
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
      // Epochs count the attempts; BullMQ must not give up a job by itself.
      maxStalledCount: 1_000_000,
      // An empty queue is read again after so many seconds, which also bounds how long a dead connection goes
      // unnoticed.
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

  /** Takes no new deliveries from now on; those that run go on. */
  async pause(): Promise<void> {
    await this.#worker.pause(true);
  }

  /** Closes the connections, within `withinMs` even where Redis does not answer. */
  async close(withinMs: number): Promise<void> {
    const closing = this.#worker.close();
    const timeout = sleep(withinMs, 'late', { ref: false });
    if ((await Promise.race([closing, timeout])) === 'late') await Promise.race([this.#worker.close(true), timeout]);
  }
}

/**
 * The job id of a delivery, or undefined. Any worker of the pool can write to its queue: entries are hostile
 * input.
 */
function deliveredId(job: Job<QueuedJob>): string | undefined {
  const data: unknown = job.data;
  if (typeof data !== 'object' || data === null || !('id' in data) || typeof data.id !== 'string') return undefined;
  return isJobId(data.id) ? data.id : undefined;
}
