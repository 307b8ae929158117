import { MOST_LOST } from '../../core/confirmation/lost-worker.ts';
import { KEEP_MS } from '../../core/jobs/job-record.ts';
import { z } from 'zod';
import { storagePlace } from '../../ground/config/object-fields.ts';
import {
  commonFields,
  engineFields,
  integer,
  metricsFields,
  promiseFields,
  redisFields,
  tracingFields,
} from '../../ground/config/fields.ts';

/** What an attestor is told. Its signing key is in no other role's schema. */
export const AttestorConfig = z.object({
  ...redisFields,
  ...commonFields,
  ...metricsFields,
  ...promiseFields,
  ...engineFields,
  ...tracingFields,
  COUNTERSIGN_ATTESTOR_KEY_FILE: z
    .string()
    .min(1)
    .describe("file with the attestor's signing key (PKCS#8 PEM, mode 600)"),
  COUNTERSIGN_TLOG_KEY_FILE: z
    .string()
    .min(1)
    .describe('file with the key that signs checkpoints of the log (PKCS#8 PEM, mode 600)'),
  COUNTERSIGN_TLOG_KEY_BEFORE_FILE: z
    .string()
    .min(1)
    .optional()
    .describe(
      "after a change of the log's key, the file with the one before: days whose draws it has committed to keep them",
    ),
  COUNTERSIGN_TLOG: storagePlace.describe(
    "folder of the log's tiles and archive, shared by all attestors, or `s3://bucket/prefix`",
  ),
  COUNTERSIGN_KEYRING: z.string().min(1).describe('file with the public keys of the API and the attestors'),
  COUNTERSIGN_ENROLLED_WORKERS: z
    .string()
    .min(1)
    .describe('file with the signed list of enrolled workers; it is read again when it changes'),
  COUNTERSIGN_RECOMPUTE_MODELS: z
    .string()
    .optional()
    .describe(
      'models to load for recomputation and replay, comma-separated, or `none`; by default every model that gives the same answer twice or can be replayed',
    ),
  COUNTERSIGN_CALIBRATIONS: z
    .string()
    .optional()
    .describe(
      'folder of calibrations (`*.calibration.json`) for replaying tokens; by default the ones shipped with the demonstration model',
    ),
  COUNTERSIGN_TEE_POLICY: z
    .string()
    .min(1)
    .optional()
    .describe("file with the policy for workers' hardware evidence; without it, no evidence is judged"),
  COUNTERSIGN_TEE_COLLATERAL: z
    .string()
    .min(1)
    .optional()
    .describe('file with the addresses where hardware makers publish certificates and revocations'),
  COUNTERSIGN_AUDIT_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('share of jobs, drawn in secret, that are recomputed beyond what their tickets promise'),
  COUNTERSIGN_RECOMPUTE_CONCURRENCY: integer(1, 256).default(4).describe('recomputations at once'),
  COUNTERSIGN_SWEEP_MS: integer(50, 60_000)
    .default(250)
    .describe('time between two looks at each schedule of open jobs, in milliseconds'),
  COUNTERSIGN_LOST_WORKERS: integer(1, 10)
    .default(MOST_LOST)
    .describe('workers that may be lost while they run one job; it fails then, and is given to no other'),
  COUNTERSIGN_KEEP_MS: integer(60_000, 31_536_000_000)
    .default(KEEP_MS)
    .describe(
      'how long a finished job is kept in Redis, in milliseconds; where attestors are told differently, the longest counts',
    ),
  COUNTERSIGN_KEEP_JOBS: integer(100, 100_000_000)
    .default(100_000)
    .describe(
      'most finished jobs of a tenant that are kept in Redis; where attestors are told differently, the most counts',
    ),
  COUNTERSIGN_ARCHIVE_MS: integer(60_000, 315_360_000_000)
    .default(2_592_000_000)
    .describe('how long a finished job is kept in the archive beside the log, in milliseconds'),
  COUNTERSIGN_AOF_REWRITE_S: integer(0, 604_800)
    .default(600)
    .describe(
      'after erasures Redis is told to write its append-only file anew, at most once in so many seconds; 0: never, the operator sees to it',
    ),
  COUNTERSIGN_LOG_RECOVERY: z
    .enum(['manual', 'auto'])
    .default('manual')
    .describe(
      'what happens where Redis has lost entries of the log: `manual` waits for `countersign log recover`, `auto` gives them back from the disk at once',
    ),
});
export type AttestorConfig = z.infer<typeof AttestorConfig>;
