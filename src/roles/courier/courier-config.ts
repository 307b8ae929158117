import { z } from 'zod';
import { integer, metricsFields } from '../../ground/config/fields.ts';
import { memoryFields } from '../../surfaces/memory/memory-fields.ts';
import { serviceFields } from '../../surfaces/service/service-config.ts';

/** What the courier is told. */
export const CourierConfig = z.object({
  ...serviceFields,
  ...metricsFields,
  COUNTERSIGN_WEBHOOK_SCHEDULE: z
    .string()
    .regex(/^\d+(\.\d+)?(,\d+(\.\d+)?){0,19}$/, 'must be seconds parted by commas')
    .default('0,5,300,1800,7200,18000,36000,50400,72000,86400')
    .describe(
      'seconds to wait before each attempt to deliver a webhook message; after the last attempt the message is given up',
    ),
  COUNTERSIGN_WEBHOOK_DEAD_AFTER_S: integer(1, 2_592_000)
    .default(432_000)
    .describe('a webhook endpoint that has taken nothing for so long, in seconds, is disabled'),
  ...memoryFields,
  COUNTERSIGN_MEMORY: memoryFields.COUNTERSIGN_MEMORY.optional().describe(
    'folder of the memories that this courier hosts: it starts the role `memory` when it is used first; without it, it hosts none',
  ),
});
export type CourierConfig = z.infer<typeof CourierConfig>;
