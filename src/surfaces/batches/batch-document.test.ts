import { describe, expect, test } from '@jest/globals';
import { batchDocument, fileDocument } from './batch-document.ts';
import type { BatchRecord } from './batch.store.ts';

const RECORD: BatchRecord = {
  id: 'batch_1',
  tenant: 'acme',
  keyId: 'key',
  endpoint: '/v1/completions',
  inputFile: 'file-1',
  inputSha256: '0'.repeat(64),
  metadata: { for: 'me' },
  status: 'in_progress',
  createdMs: 1_790_000_000_999,
  expiresMs: 1_790_086_400_999,
  in_progressMs: 1_790_000_001_001,
  total: 3,
  completed: 1,
  failed: 1,
  promptTokens: 5,
  completionTokens: 7,
};

describe('a batch in the shape of OpenAI', () => {
  test('has times in whole seconds, null where something has not happened, and says nothing of tenant and key', () => {
    const document = batchDocument(RECORD);
    expect(document).toMatchObject({
      object: 'batch',
      created_at: 1_790_000_000,
      in_progress_at: 1_790_000_001,
      completed_at: null,
      output_file_id: null,
      errors: null,
      countersign: null,
      request_counts: { total: 3, completed: 1, failed: 1 },
      usage: { input_tokens: 5, output_tokens: 7, total_tokens: 12 },
    });
    expect(JSON.stringify(document)).not.toMatch(/acme|"key"|inputSha256/);
  });

  test('names the root of its receipts once it has one', () => {
    expect(batchDocument({ ...RECORD, receiptsRoot: 'cm9vdA==', receipts: 2 }).countersign).toEqual({
      receipts: 2,
      receipts_root: 'cm9vdA==',
    });
  });
});

test('a file in the shape of OpenAI does not name its blob', () => {
  const { tenant, createdMs, expiresMs } = RECORD;
  const sha256 = 'f'.repeat(64);
  const file = { id: 'file-1', tenant, keyId: 'k', createdMs, expiresMs, sha256, filename: 'a.jsonl', bytes: 9 };
  const document = fileDocument({ ...file, purpose: 'batch' });
  expect(document).toMatchObject({ object: 'file', bytes: 9, expires_at: 1_790_086_400, status: 'processed' });
  expect(JSON.stringify(document)).not.toContain(sha256);
});
