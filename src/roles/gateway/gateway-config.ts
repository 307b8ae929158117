import { z } from 'zod';
import { commonFields, integer, metricsFields, redisFields } from '../../ground/config/fields.ts';

/** Everything a gateway may know: the login of the workers of one pool, and no key that signs anything. */
export const GatewayConfig = z
  .object({
    ...redisFields,
    ...commonFields,
    ...metricsFields,
    COUNTERSIGN_POOL: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
      .default('default')
      .describe('pool whose workers may ask here'),
    COUNTERSIGN_HOST: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
    COUNTERSIGN_PORT: integer(0, 65_535).default(8282).describe('port to listen on; 0 takes any free port'),
    COUNTERSIGN_TLS_CERT_FILE: z
      .string()
      .min(1)
      .optional()
      .describe(
        'file with the certificate and those above it (PEM): the gateway then speaks TLS itself, without a proxy',
      ),
    COUNTERSIGN_TLS_KEY_FILE: z
      .string()
      .min(1)
      .optional()
      .describe('file with the private key of that certificate (PEM, mode 600)'),
    COUNTERSIGN_TLS_CLIENT_CA_FILE: z
      .string()
      .min(1)
      .optional()
      .describe(
        'file with certificates of authorities (PEM): whoever connects must then show a certificate of one of them; without it, nobody is asked for one',
      ),
    COUNTERSIGN_LEASE_MS: integer(6_000, 600_000)
      .default(30_000)
      .describe('lease: how long an acknowledged claim holds without renewal, in milliseconds'),
    COUNTERSIGN_SESSION_MS: integer(10_000, 86_400_000)
      .default(900_000)
      .describe('how long a session of a worker lasts, in milliseconds; workers renew it when half of that is over'),
    COUNTERSIGN_WORKER_RATE: integer(1, 100_000)
      .default(300)
      .describe('requests a second of one worker; twice as many may come at once'),
    COUNTERSIGN_ADDRESS_RATE: integer(1, 100_000)
      .default(100)
      .describe(
        'requests without a session, a second, from one network address; ten times as many may come at once. Behind a proxy, all workers share one address',
      ),
  })
  .refine(
    (config) => (config.COUNTERSIGN_TLS_CERT_FILE === undefined) === (config.COUNTERSIGN_TLS_KEY_FILE === undefined),
    {
      message: 'goes with COUNTERSIGN_TLS_KEY_FILE: set both, or none',
      path: ['COUNTERSIGN_TLS_CERT_FILE'],
    },
  )
  .refine(
    (config) => config.COUNTERSIGN_TLS_CLIENT_CA_FILE === undefined || config.COUNTERSIGN_TLS_CERT_FILE !== undefined,
    {
      message: 'needs COUNTERSIGN_TLS_CERT_FILE and COUNTERSIGN_TLS_KEY_FILE: without TLS nobody shows a certificate',
      path: ['COUNTERSIGN_TLS_CLIENT_CA_FILE'],
    },
  );
export type GatewayConfig = z.infer<typeof GatewayConfig>;
