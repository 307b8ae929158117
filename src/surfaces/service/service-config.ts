import { z } from 'zod';
import { storagePlace } from '../../ground/config/object-fields.ts';
import { commonFields, integer, promiseFields, redisFields, tracingFields } from '../../ground/config/fields.ts';

/** What every role is told that takes jobs in and reads them out. */
export const serviceFields = {
  ...redisFields,
  ...commonFields,
  ...promiseFields,
  ...tracingFields,
  COUNTERSIGN_TICKET_KEY_FILE: z
    .string()
    .min(1)
    .describe("file with the API's ticket signing key (PKCS#8 PEM, mode 600)"),
  COUNTERSIGN_SECRETS_KEY_FILES: z
    .string()
    .min(1)
    .transform((text) => text.split(',').map((path) => path.trim()))
    .describe(
      "files with the keys of secrets (PKCS#8 PEM, mode 600), separated by commas: the first seals webhooks' secrets and marks payers' tokens, each opens and recognizes them",
    ),
  COUNTERSIGN_KEYRING: z
    .string()
    .min(1)
    .describe('file with the public keys of the API and the attestors, served under `/.well-known/`'),
  COUNTERSIGN_TLOG: storagePlace.describe(
    "folder of the transparency log's tiles, served under `/log/`, or `s3://bucket/prefix`",
  ),
  COUNTERSIGN_FILES: storagePlace.describe('folder of uploaded files and of batch results, or `s3://bucket/prefix`'),
  COUNTERSIGN_PRICES: z.string().min(1).optional().describe('file with the price table; without it, jobs are free'),
  COUNTERSIGN_X402: z
    .string()
    .min(1)
    .optional()
    .describe('file with the x402 terms for callers who have no API key; without it, nothing is sold to them'),
  COUNTERSIGN_WEBHOOK_PRIVATE: z
    .enum(['refuse', 'allow'])
    .default('refuse')
    .describe('whether webhooks may be sent to private addresses, to any port and over plain http'),
  COUNTERSIGN_STORAGE_SHARE: z.coerce
    .number()
    .min(0.1)
    .max(1)
    .default(0.9)
    .describe("share of Redis' `maxmemory` in use at which no new work is taken; without a `maxmemory`, none"),
  COUNTERSIGN_STORAGE_BYTES: integer(1_048_576, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('memory of Redis in use at which no new work is taken, in bytes, in place of the share'),
  COUNTERSIGN_MEMORY_SOCKET: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Unix socket of the role `memory`, where a courier that hosts it listens; without it, there are no memories',
    ),
  COUNTERSIGN_ADMISSION_PROBABILITY: z.coerce
    .number()
    .min(0.9)
    .max(0.99)
    .default(0.99)
    .describe('how likely a job must be to end before its deadline, so that it is admitted; see `docs/admission.md`'),
  COUNTERSIGN_DEFAULT_RECOMPUTE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('share of answers to recompute for jobs that do not name one'),
} as const;
export type ServiceConfig = z.infer<z.ZodObject<typeof serviceFields>>;
