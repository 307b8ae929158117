import { z } from 'zod';
import { seconds } from '../openai/answers.ts';
import { FILE_PURPOSES, type FileRecord } from './batch-files.store.ts';
import { BATCH_ENDPOINTS } from './batch-request.ts';
import { BATCH_STATUSES, LineError, type BatchRecord } from './batch.store.ts';

const secondsOrNull = (ms: number | undefined) => (ms === undefined ? null : seconds(ms));

const Time = z.int().describe('seconds since 1970');

/** A file in OpenAI's shape. */
export const FileDocument = z.strictObject({
  id: z.string(),
  object: z.literal('file'),
  bytes: z.int(),
  created_at: Time,
  expires_at: Time,
  filename: z.string(),
  purpose: z.enum(FILE_PURPOSES),
  status: z.literal('processed'),
});
export type FileDocument = z.infer<typeof FileDocument>;

/** A batch in OpenAI's shape; `countersign` has the root of the tree over the verdicts of its receipts. */
export const BatchDocument = z.strictObject({
  id: z.string(),
  object: z.literal('batch'),
  endpoint: z.enum(BATCH_ENDPOINTS),
  model: z.string().nullable(),
  errors: z.strictObject({ object: z.literal('list'), data: z.array(LineError) }).nullable(),
  input_file_id: z.string(),
  completion_window: z.literal('24h'),
  status: z.enum(BATCH_STATUSES),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: Time,
  in_progress_at: Time.nullable(),
  expires_at: Time,
  finalizing_at: Time.nullable(),
  completed_at: Time.nullable(),
  failed_at: Time.nullable(),
  expired_at: Time.nullable(),
  cancelling_at: Time.nullable(),
  cancelled_at: Time.nullable(),
  request_counts: z.strictObject({ total: z.int(), completed: z.int(), failed: z.int() }),
  usage: z.strictObject({
    input_tokens: z.int(),
    output_tokens: z.int(),
    total_tokens: z.int(),
    input_tokens_details: z.strictObject({ cached_tokens: z.literal(0) }),
    output_tokens_details: z.strictObject({ reasoning_tokens: z.literal(0) }),
  }),
  metadata: z.record(z.string(), z.string()),
  countersign: z
    .strictObject({ receipts: z.int(), receipts_root: z.string() })
    .nullable()
    .describe('the root of the tree over the verdicts of its receipts, once the batch is over'),
});
export type BatchDocument = z.infer<typeof BatchDocument>;

/** A page of a list in OpenAI's shape. */
const page = <Item extends z.ZodType>(item: Item) =>
  z.strictObject({
    object: z.literal('list'),
    data: z.array(item),
    first_id: z.string().nullable(),
    last_id: z.string().nullable(),
    has_more: z.boolean(),
  });
export const FileList = page(FileDocument);
export type FileList = z.infer<typeof FileList>;
export const BatchList = page(BatchDocument);
export type BatchList = z.infer<typeof BatchList>;

/** One page, newest first. */
export function pageOf<Item extends { readonly id: string }>(data: Item[], hasMore: boolean) {
  const [first_id, last_id] = [data[0]?.id ?? null, data.at(-1)?.id ?? null];
  return { object: 'list' as const, data, first_id, last_id, has_more: hasMore };
}

export function fileDocument(file: FileRecord): FileDocument {
  return {
    id: file.id,
    object: 'file',
    bytes: file.bytes,
    created_at: seconds(file.createdMs),
    expires_at: seconds(file.expiresMs),
    filename: file.filename,
    purpose: file.purpose,
    status: 'processed',
  };
}

/**
 * A batch in OpenAI's shape. `countersign` has the number of its receipts, and the root of the tree over
 * their verdicts.
 */
export function batchDocument(batch: BatchRecord): BatchDocument {
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.model ?? null,
    errors: batch.errors === undefined ? null : { object: 'list', data: batch.errors },
    input_file_id: batch.inputFile,
    completion_window: '24h',
    status: batch.status,
    output_file_id: batch.outputFile ?? null,
    error_file_id: batch.errorFile ?? null,
    created_at: seconds(batch.createdMs),
    in_progress_at: secondsOrNull(batch.in_progressMs),
    expires_at: seconds(batch.expiresMs),
    finalizing_at: secondsOrNull(batch.finalizingMs),
    completed_at: secondsOrNull(batch.completedMs),
    failed_at: secondsOrNull(batch.failedMs),
    expired_at: secondsOrNull(batch.expiredMs),
    cancelling_at: secondsOrNull(batch.cancellingMs),
    cancelled_at: secondsOrNull(batch.cancelledMs),
    request_counts: { total: batch.total, completed: batch.completed, failed: batch.failed },
    usage: {
      input_tokens: batch.promptTokens,
      output_tokens: batch.completionTokens,
      total_tokens: batch.promptTokens + batch.completionTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
    metadata: batch.metadata,
    countersign:
      batch.receiptsRoot === undefined ? null : { receipts: batch.receipts ?? 0, receipts_root: batch.receiptsRoot },
  };
}
