import { Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { redisOptions, type RedisAccess } from '../../ground/redis/connection.ts';
import { readCases } from './case-file.ts';
import type { Intake } from './intake.ts';
import type { Judge } from './judge.ts';
import { RECOMPUTE_QUEUE, type Recomputation } from './recomputation.ts';

/** Makes the checks that take longer than moments. */
export function recomputeConsumer(options: {
  access: RedisAccess;
  redis: Redis;
  keys: RedisKeys;
  judge: Judge;
  intake: Intake;
  concurrency: number;
  logger: Logger;
}): Worker<Recomputation> {
  const { redis, keys, judge, intake, logger } = options;
  const worker = new Worker<Recomputation>(
    RECOMPUTE_QUEUE,
    async (job) => {
      const [file] = await readCases(redis, keys, [job.data]);
      if (file === undefined || file.ended || file.phase !== 'attesting' || file.epoch !== file.currentEpoch)
        return null;
      await intake.rule([await judge.judgeFully(file)]);
      return null;
    },
    {
      connection: redisOptions(options.access, 'patient'),
      prefix: keys.attestorQueue,
      concurrency: options.concurrency,
      lockDuration: 15_000,
      stalledInterval: 5_000,
      maxStalledCount: 5,
      drainDelay: 5,
      runRetryDelay: 1_000,
      skipVersionCheck: true,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    },
  );
  const warn = rateLimited(5_000, (error, suppressed) =>
    logger.warn({ suppressed }, `recompute: ${messageOf(error).slice(0, 300)}`),
  );
  worker.on('error', warn);
  worker.on('failed', (_, error) => warn(error));
  return worker;
}
