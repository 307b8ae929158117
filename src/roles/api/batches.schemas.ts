import { z } from 'zod';
import { BATCH_ENDPOINTS } from '../../surfaces/batches/batch-request.ts';

export const CreateBatch = z.strictObject({
  input_file_id: z.string().max(64),
  endpoint: z.enum(BATCH_ENDPOINTS),
  completion_window: z.literal('24h'),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((metadata) => Object.keys(metadata).length <= 16, { message: 'at most 16 pairs' })
    .nullish(),
  output_expires_after: z
    .strictObject({ anchor: z.literal('created_at'), seconds: z.number().int().min(3_600).max(2_592_000) })
    .optional()
    .describe('how long its results are kept; 30 days by default'),
});
export const ListBatches = z.strictObject({
  after: z.string().max(64).optional().describe('the id of a batch: those after it are listed'),
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('the most batches of a page'),
});
