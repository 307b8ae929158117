import { seconds } from '../openai/answers.ts';
import type { FileRecord } from './batch-files.store.ts';
import type { BatchRecord } from './batch.store.ts';

const secondsOrNull = (ms: number | undefined) => (ms === undefined ? null : seconds(ms));

/** A file in OpenAI's shape. */
export function fileDocument(file: FileRecord) {
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
export function batchDocument(batch: BatchRecord) {
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
