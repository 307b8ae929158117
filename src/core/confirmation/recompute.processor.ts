import { OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import type { Job, RedisOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { CONSUMER_OPTIONS } from '../../ground/bull/consumer.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Aside } from './aside.ts';
import { readCases } from './case-file.ts';
import type { Decisions } from './decisions.ts';
import type { Judge } from './judge.ts';
import { RECOMPUTE_QUEUE, type Recomputation } from './recompute-queue.ts';

interface RecomputeParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly judge: Judge;
  readonly decisions: Decisions;
  readonly aside: Aside;
  readonly logger: Logger;
}

/** Makes the checks that take longer than moments. */
export class RecomputeProcessor extends WorkerHost {
  readonly #parts: RecomputeParts;
  readonly #warn: (error: unknown) => void;

  constructor(parts: RecomputeParts) {
    super();
    this.#parts = parts;
    this.#warn = rateLimited(5_000, (error, suppressed) =>
      parts.logger.warn({ suppressed }, `recompute: ${messageOf(error).slice(0, 300)}`),
    );
  }

  /**
   * Nest reads the options off a class, and these come from the configuration: hence a class for this
   * process.
   */
  static with(connection: RedisOptions, concurrency: number, parts: RecomputeParts): RecomputeProcessor {
    class ConfiguredProcessor extends RecomputeProcessor {}
    Processor(
      { name: RECOMPUTE_QUEUE },
      { ...CONSUMER_OPTIONS, connection, concurrency, maxStalledCount: 5 },
    )(ConfiguredProcessor);
    return new ConfiguredProcessor(parts);
  }

  /** What fails again and again is put aside; where even that fails, the sweep brings the case back. */
  async process(job: Job<Recomputation>): Promise<null> {
    const { aside } = this.#parts;
    try {
      await this.#judge(job);
      await aside.remove([job.data.id]);
    } catch (error) {
      if (job.attemptsMade + 1 < (job.opts.attempts ?? 1)) throw error;
      await aside.put([{ id: job.data.id, error }]);
    }
    return null;
  }

  async #judge(job: Job<Recomputation>): Promise<void> {
    const { redis, keys, judge, decisions } = this.#parts;
    const [file] = await readCases(redis, keys, [job.data]);
    if (file === undefined || file.ended || file.phase !== 'attesting' || file.epoch !== file.currentEpoch) return;
    const judged = await judge.judgeFully(file);
    if (judged !== undefined) await decisions.decide([judged]);
  }

  @OnWorkerEvent('error')
  warn(error: Error): void {
    this.#warn(error);
  }

  @OnWorkerEvent('failed')
  warnOfFailure(_job: Job | undefined, error: Error): void {
    this.#warn(error);
  }
}
