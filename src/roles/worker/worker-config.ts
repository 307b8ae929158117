import { z } from 'zod';
import { DRAIN_SIGNALS } from '../../ground/process/drain-time.ts';
import {
  commonFields,
  engineFields,
  integer,
  metricsFields,
  redisFields,
  tracingFields,
} from '../../ground/config/fields.ts';

/** What a worker is told whether it has a login of Redis or a gateway. */
export const workerFields = {
  COUNTERSIGN_WORKER_KEY_FILE: z
    .string()
    .min(1)
    .describe("file with the worker's own signing key (PKCS#8 PEM, mode 600)"),
  COUNTERSIGN_POOL: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
    .default('default')
    .describe('pool whose jobs this worker takes'),
  COUNTERSIGN_MODELS: z
    .string()
    .optional()
    .describe('models to serve, comma-separated; by default all models of the pool'),
  COUNTERSIGN_RESIDENT: integer(1, 1_000)
    .optional()
    .describe(
      'models that compute in this worker and are held in memory at once; the others are loaded in their turn; by default all are held',
    ),
  COUNTERSIGN_CONCURRENCY: integer(1, 1_024)
    .optional()
    .describe('jobs of one model at once; by default as many as the engine can run'),
  COUNTERSIGN_TEE_COMMAND: z
    .string()
    .min(1)
    .optional()
    .describe('program that prints hardware evidence of this machine; without it, the worker sends none'),
  COUNTERSIGN_DRAIN_MS: integer(0, 3_600_000)
    .default(20_000)
    .describe('how long a stopping worker waits for its running jobs, in milliseconds'),
  COUNTERSIGN_DRAIN_ON: z
    .enum(DRAIN_SIGNALS)
    .optional()
    .describe(
      'signal at which running jobs are let end, each until its own deadline, whatever COUNTERSIGN_DRAIN_MS says',
    ),
  ...engineFields,
  ...tracingFields,
} as const;

/** Everything a worker may know. There is no attestor key here, and must never be. */
export const WorkerConfig = z
  .object({
    ...redisFields,
    ...commonFields,
    ...metricsFields,
    ...workerFields,
    COUNTERSIGN_JOIN_TOKEN_FILE: z
      .string()
      .min(1)
      .optional()
      .describe(
        'file with the token of an invitation (mode 600): the key is made where there is none, and asks to be enrolled',
      ),
    COUNTERSIGN_LEASE_MS: integer(1_000, 600_000)
      .default(10_000)
      .describe('lease: how long a claim holds without renewal, in milliseconds'),
    COUNTERSIGN_HEARTBEAT_MS: integer(100, 60_000)
      .default(2_000)
      .describe('time between renewals of a lease, in milliseconds; at most a third of the lease'),
    COUNTERSIGN_STALL_MS: integer(500, 3_600_000)
      .default(60_000)
      .describe('a worker whose event loop was blocked for longer than these milliseconds gives up its jobs'),
  })
  .refine((config) => config.COUNTERSIGN_HEARTBEAT_MS * 3 <= config.COUNTERSIGN_LEASE_MS, {
    message: 'must be at most a third of COUNTERSIGN_LEASE_MS, or a lease can run out between two heartbeats',
    path: ['COUNTERSIGN_HEARTBEAT_MS'],
  });
export type WorkerConfig = z.infer<typeof WorkerConfig>;
