import { BatchDocument, BatchList } from '../../surfaces/batches/batch-document.ts';
import { CreateBatch, ListBatches } from './batches.schemas.ts';
import { body, inPath, json, type Operation } from './operation.ts';
import { MadeOnce } from './request-headers.ts';

const parameters = inPath('id', 'the id of a batch', 'batch_0123456789abcdef01234567');

export const BATCH_OPERATIONS: readonly Operation[] = [
  {
    id: 'createBatch',
    method: 'post',
    path: '/v1/batches',
    tag: 'Batches',
    summary: 'Run every line of a file, behind interactive work, within a day',
    scope: 'submit',
    headers: MadeOnce,
    body: body('CreateBatch', CreateBatch, {
      input_file_id: 'file-0123456789abcdef01234567',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    }),
    success: { '200': json('the batch; `countersign.receipts_root` once it is over', 'Batch', BatchDocument) },
    errors: ['request_invalid', 'file_not_found', 'idempotency_key_reused', 'too_many_batches'],
  },
  {
    id: 'listBatches',
    method: 'get',
    path: '/v1/batches',
    tag: 'Batches',
    summary: "List the tenant's batches, newest first",
    scope: 'read',
    query: ListBatches,
    success: { '200': json('a page', 'BatchList', BatchList) },
    errors: ['request_invalid', 'batch_not_found'],
  },
  {
    id: 'getBatch',
    method: 'get',
    path: '/v1/batches/{id}',
    tag: 'Batches',
    summary: 'Get a batch',
    scope: 'read',
    parameters,
    success: { '200': json('the batch', 'Batch', BatchDocument) },
    errors: ['batch_not_found'],
  },
  {
    id: 'cancelBatch',
    method: 'post',
    path: '/v1/batches/{id}/cancel',
    tag: 'Batches',
    summary: 'Stop a batch',
    description: 'Answers that are finished are kept.',
    scope: 'submit',
    parameters,
    success: { '200': json('the batch', 'Batch', BatchDocument) },
    errors: ['batch_not_found', 'batch_over'],
  },
];
