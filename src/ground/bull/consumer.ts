import type { WorkerOptions } from 'bullmq';

/**
 * How our consumers take deliveries. BullMQ's locks and stall checks only bring a delivery again; whether it
 * is still of use, the documents decide.
 */
export const CONSUMER_OPTIONS = {
  lockDuration: 15_000,
  stalledInterval: 5_000,
  // Read again this often although the queue was empty; it also bounds how long a dead connection goes
  // unnoticed.
  drainDelay: 5,
  runRetryDelay: 1_000,
  skipVersionCheck: true,
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
} as const satisfies Partial<WorkerOptions>;
