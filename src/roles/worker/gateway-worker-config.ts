import { z } from 'zod';
import { commonFields, metricsFields, trustedBase } from '../../ground/config/fields.ts';
import { workerFields } from './worker-config.ts';

/** Everything that a worker behind a gateway may know: it has its own key, and no login of anything. */
export const GatewayWorkerConfig = z.object({
  COUNTERSIGN_GATEWAY_URL: trustedBase.describe(
    'address of a gateway of the pool: the worker then has no login of Redis and no folder of blobs, and only asks there',
  ),
  COUNTERSIGN_LOG_LEVEL: commonFields.COUNTERSIGN_LOG_LEVEL,
  COUNTERSIGN_CATALOG: commonFields.COUNTERSIGN_CATALOG,
  ...metricsFields,
  ...workerFields,
});
export type GatewayWorkerConfig = z.infer<typeof GatewayWorkerConfig>;
