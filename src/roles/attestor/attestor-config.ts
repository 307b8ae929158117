import { z } from 'zod';
import { commonFields, integer, redisFields } from '../../ground/config/fields.ts';

/** What an attestor is told. Its signing key is in no other role's schema. */
export const AttestorConfig = z.object({
  ...redisFields,
  ...commonFields,
  COUNTERSIGN_ATTESTOR_KEY_FILE: z
    .string()
    .min(1)
    .describe("file with the attestor's signing key (PKCS#8 PEM, mode 600)"),
  COUNTERSIGN_TLOG_KEY_FILE: z
    .string()
    .min(1)
    .describe('file with the key that signs checkpoints of the log (PKCS#8 PEM, mode 600)'),
  COUNTERSIGN_TLOG: z.string().min(1).describe("folder of the log's tiles, shared by all attestors"),
  COUNTERSIGN_KEYRING: z.string().min(1).describe('file with the public keys of the API and the attestors'),
  COUNTERSIGN_ENROLLED_WORKERS: z
    .string()
    .min(1)
    .describe('the signed list of workers that may be believed; read again when it changes'),
  COUNTERSIGN_RECOMPUTE_MODELS: z
    .string()
    .optional()
    .describe(
      'models to load for recomputation and replay, parted by commas, or `none`; by default all that repeat themselves or can be replayed',
    ),
  COUNTERSIGN_CALIBRATIONS: z
    .string()
    .optional()
    .describe(
      'folder of calibrations (`*.calibration.json`) of models whose tokens can be replayed; by default those that come with the demonstration model',
    ),
  COUNTERSIGN_TEE_POLICY: z
    .string()
    .min(1)
    .optional()
    .describe("file with what is accepted of workers' hardware; without it, none is judged"),
  COUNTERSIGN_TEE_COLLATERAL: z
    .string()
    .min(1)
    .optional()
    .describe('file that says where the makers of hardware are asked for certificates and revocations'),
  COUNTERSIGN_AUDIT_SHARE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('share of jobs, drawn in secret, that is computed again beyond what their tickets promise'),
  COUNTERSIGN_RECOMPUTE_CONCURRENCY: integer(1, 256).default(4).describe('recomputations at once'),
  COUNTERSIGN_SWEEP_MS: integer(50, 60_000).default(500).describe('how often overdue jobs are looked for'),
  COUNTERSIGN_KEEP_MS: integer(60_000, 31_536_000_000)
    .default(86_400_000)
    .describe('how long a finished job and its receipt are kept'),
  COUNTERSIGN_KEEP_JOBS: integer(100, 100_000_000).default(100_000).describe('how many finished jobs are kept at most'),
});
export type AttestorConfig = z.infer<typeof AttestorConfig>;
