import { z } from 'zod';
import { commonFields, integer, redisFields } from '../config/fields.ts';

/** What the API is told. */
export const ApiConfig = z.object({
  ...redisFields,
  ...commonFields,
  COUNTERSIGN_API_KEY_FILE: z.string().min(1).describe("file with the API's ticket signing key (PKCS#8 PEM, mode 600)"),
  COUNTERSIGN_KEYRING: z
    .string()
    .min(1)
    .describe('file with the public keys of the API and the attestors, served under `/.well-known/`'),
  COUNTERSIGN_LOG: z.string().min(1).describe("folder of the transparency log's tiles, served under `/log/`"),
  COUNTERSIGN_HOST: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
  COUNTERSIGN_PORT: integer(0, 65_535).default(8181).describe('port to listen on; 0 for any free one'),
  COUNTERSIGN_DEFAULT_RECOMPUTE: z.coerce
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('share of answers computed again where a job does not say'),
  COUNTERSIGN_MAX_STREAMS: integer(1, 100_000).default(2_000).describe('event streams open at once'),
  COUNTERSIGN_MAX_STREAMS_PER_KEY: integer(1, 100_000)
    .default(1_000)
    .describe('event streams open at once for one API key'),
});
export type ApiConfig = z.infer<typeof ApiConfig>;
