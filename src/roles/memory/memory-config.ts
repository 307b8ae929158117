import { z } from 'zod';
import { commonFields, metricsFields } from '../../ground/config/fields.ts';
import { memoryFields } from '../../surfaces/memory/memory-fields.ts';

/** What the memory is told. */
export const MemoryConfig = z.object({
  COUNTERSIGN_LOG_LEVEL: commonFields.COUNTERSIGN_LOG_LEVEL,
  ...metricsFields,
  ...memoryFields,
  COUNTERSIGN_MEMORY_SOCKET: z.string().min(1).describe('Unix socket at which this role is reached'),
});
export type MemoryConfig = z.infer<typeof MemoryConfig>;
