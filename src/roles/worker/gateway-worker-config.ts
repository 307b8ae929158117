import { z } from 'zod';
import { commonFields, metricsFields, trustedBase } from '../../ground/config/fields.ts';
import { workerFields } from './worker-config.ts';

/** Everything that a worker behind a gateway may know: it has its own key, and no login of anything. */
export const GatewayWorkerConfig = z
  .object({
    COUNTERSIGN_GATEWAY_URL: trustedBase.describe(
      'address of a gateway of the pool: the worker then has no login of Redis and no folder of blobs, and only asks there',
    ),
    COUNTERSIGN_GATEWAY_CERT_FILE: z
      .string()
      .min(1)
      .optional()
      .describe('file with the certificate that the worker shows to a gateway that asks for one (PEM)'),
    COUNTERSIGN_GATEWAY_KEY_FILE: z
      .string()
      .min(1)
      .optional()
      .describe('file with the private key of that certificate (PEM, mode 600)'),
    COUNTERSIGN_GATEWAY_CA_FILE: z
      .string()
      .min(1)
      .optional()
      .describe(
        'file with the only authorities that the gateway may have its certificate from (PEM); by default those that Node.js trusts',
      ),
    COUNTERSIGN_LOG_LEVEL: commonFields.COUNTERSIGN_LOG_LEVEL,
    COUNTERSIGN_CATALOG: commonFields.COUNTERSIGN_CATALOG,
    ...metricsFields,
    ...workerFields,
  })
  .refine(
    (config) =>
      (config.COUNTERSIGN_GATEWAY_CERT_FILE === undefined) === (config.COUNTERSIGN_GATEWAY_KEY_FILE === undefined),
    {
      message: 'goes with COUNTERSIGN_GATEWAY_KEY_FILE: set both, or none',
      path: ['COUNTERSIGN_GATEWAY_CERT_FILE'],
    },
  );
export type GatewayWorkerConfig = z.infer<typeof GatewayWorkerConfig>;
