import { z } from 'zod';
import { integer, trustedBase } from '../../ground/config/fields.ts';

/** Variables of the role `memory`, which a courier that hosts it hands on. */
export const memoryFields = {
  COUNTERSIGN_MEMORY: z
    .string()
    .min(1)
    .describe('folder of the memories: the keys of their owners, and the database where no other is named'),
  COUNTERSIGN_MEMORY_KEY_FILE: z
    .string()
    .min(1)
    .optional()
    .describe(
      'file with the key that the keys of owners are sealed under (32 bytes in base64url, mode 600); more lines are older keys; beside COUNTERSIGN_MEMORY_VAULT_URL it only opens what it sealed before',
    ),
  COUNTERSIGN_MEMORY_VAULT_URL: trustedBase
    .optional()
    .describe(
      'base of a HashiCorp Vault or OpenBao, such as `https://vault:8200`, whose transit engine seals the keys of owners in place of a file',
    ),
  COUNTERSIGN_MEMORY_VAULT_KEY: z
    .string()
    .regex(/^[a-zA-Z0-9_-]{1,64}(\/[a-zA-Z0-9_-]{1,64}){1,4}$/, 'must be mount/key, as in transit/countersign')
    .default('transit/countersign')
    .describe('where that engine is mounted, and the name of the key'),
  COUNTERSIGN_MEMORY_VAULT_TOKEN_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('file with the token for it (mode 600); it is read at each start'),
  COUNTERSIGN_MEMORY_DATABASE_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('file with the address of a PostgreSQL database, `postgres://…` (mode 600); without it, one is embedded'),
  COUNTERSIGN_MEMORY_OPEN_BYTES: integer(16_777_216, 17_179_869_184)
    .default(268_435_456)
    .describe('how much memory opened owners may take, in bytes; one that is in use is never closed'),
  COUNTERSIGN_MEMORY_RETENTION: z
    .string()
    .regex(
      /^[^=,]+=[1-9]\d{0,4}(,[^=,]+=[1-9]\d{0,4}){0,99}$/,
      'must be categories with days, as in health=365,work=90',
    )
    .optional()
    .describe('for how many days memories of a category are kept, such as `health=365,work=90`; the others for ever'),
  COUNTERSIGN_MEMORY_HISTORY_DAYS: integer(1, 3_650)
    .default(90)
    .describe('for how many days ended jobs are found in the history'),
  COUNTERSIGN_MEMORY_HISTORY_JOBS: integer(1_000, 1_000_000_000)
    .default(1_000_000)
    .describe('most ended jobs in the history, about 1 KB each; beyond it the oldest go first'),
  COUNTERSIGN_MEMORY_EMBEDDER_URL: trustedBase
    .optional()
    .describe(
      "base of a server with OpenAI's embeddings API, such as `https://host/v1`; without it, the embedder that comes with the program",
    ),
  COUNTERSIGN_MEMORY_EMBEDDER_MODEL: z
    .string()
    .min(1)
    .max(200)
    .default('default')
    .describe('the model to ask that server for'),
  COUNTERSIGN_MEMORY_EMBEDDER_KEY_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('file with the API key of that server (mode 600)'),
} as const;

/** The names of what a courier that hosts the memory hands on as it is, where it is set. */
export const HANDED_ON = [
  'COUNTERSIGN_MEMORY_KEY_FILE',
  'COUNTERSIGN_MEMORY_VAULT_URL',
  'COUNTERSIGN_MEMORY_VAULT_KEY',
  'COUNTERSIGN_MEMORY_VAULT_TOKEN_FILE',
  'COUNTERSIGN_MEMORY_DATABASE_FILE',
  'COUNTERSIGN_MEMORY_OPEN_BYTES',
  'COUNTERSIGN_MEMORY_RETENTION',
  'COUNTERSIGN_MEMORY_HISTORY_DAYS',
  'COUNTERSIGN_MEMORY_HISTORY_JOBS',
  'COUNTERSIGN_MEMORY_EMBEDDER_URL',
  'COUNTERSIGN_MEMORY_EMBEDDER_MODEL',
  'COUNTERSIGN_MEMORY_EMBEDDER_KEY_FILE',
] as const satisfies readonly (keyof typeof memoryFields)[];
