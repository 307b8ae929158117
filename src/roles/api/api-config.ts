import { z } from 'zod';
import { serviceFields } from '../../surfaces/service/service-config.ts';
import { integer } from '../../ground/config/fields.ts';

const Origin = z
  .string()
  .regex(/^(\*|https?:\/\/[a-z0-9.:[\]-]+)$/, 'must be origins such as https://app.example, separated by commas, or *');

/** The configuration of the API. */
export const ApiConfig = z.object({
  ...serviceFields,
  COUNTERSIGN_HOST: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
  COUNTERSIGN_PORT: integer(0, 65_535).default(8181).describe('port to listen on; 0 takes any free port'),
  COUNTERSIGN_BOOTSTRAP: z
    .string()
    .min(1)
    .optional()
    .describe('file with the first tenant and its API key, as `countersign init` makes it; taken in once'),
  COUNTERSIGN_CORS_ORIGINS: z
    .string()
    .optional()
    .transform((text = '') => text.split(',').flatMap((origin) => (origin.trim() === '' ? [] : [origin.trim()])))
    .pipe(z.array(Origin).max(100))
    .describe(
      'origins whose pages may call the API from a browser, separated by commas; `*` is every one. The public keys, the log and receipts are open to all',
    ),
  COUNTERSIGN_MAX_STREAMS: integer(1, 100_000).default(2_000).describe('most event streams open at once'),
  COUNTERSIGN_MAX_STREAMS_PER_KEY: integer(1, 100_000)
    .default(1_000)
    .describe('most event streams open at once for one API key'),
  COUNTERSIGN_MCP_OAUTH: z
    .string()
    .min(1)
    .optional()
    .describe(
      'file with the issuer whose access tokens `POST /mcp` takes, see `docs/mcp.md`; without it, it takes API keys only',
    ),
});
export type ApiConfig = z.infer<typeof ApiConfig>;
