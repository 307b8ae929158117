import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { FolderBlobs } from '../../src/ground/blobs/folder-blobs.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import { StorageGate } from '../../src/ground/redis/storage-gate.ts';
import { BatchFiles, newFileId } from '../../src/surfaces/batches/batch-files.store.ts';
import { Batches, newBatchId } from '../../src/surfaces/batches/batch.store.ts';
import { TestRedis } from '../support/redis.ts';

const MOST_BATCHES = 20;
const MOST_FILES = 1_000;

let server: TestRedis;
let redis: Redis;
let batches: Batches;
beforeAll(async () => {
  server = await TestRedis.start();
  redis = server.client('api');
  batches = new Batches(redis, server.keys);
});
afterAll(() => server[Symbol.asyncDispose]());

const begin = (tenant: string, id = newBatchId()) =>
  batches.create(id, {
    tenant,
    keyId: 'k',
    endpoint: '/v1/embeddings',
    inputFile: newFileId(),
    inputSha256: '0'.repeat(64),
    metadata: {},
  });

/** How many of these were done, and how many refused with this code; throws where one failed otherwise. */
async function outcomes(code: string, asked: readonly Promise<unknown>[]): Promise<[done: number, refused: number]> {
  const ends = await Promise.allSettled(asked);
  const why = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []));
  for (const error of why) if (!(error instanceof CodedError && error.code === code)) throw error;
  return [ends.length - why.length, why.length];
}

test('of batches that are made at the same time, as many are made as there are places', async () => {
  const ids = Array.from({ length: 2 * MOST_BATCHES }, newBatchId);
  expect(
    await outcomes(
      'too_many_batches',
      ids.map((id) => begin('crowd', id)),
    ),
  ).toEqual([20, 20]);
  // Those that run long stay counted, however many came and ended since.
  const first = ids[0] ?? '';
  const open = (await redis.zrange(server.keys.batches, '0', '-1')).filter((id) => id !== first);
  for (const id of open) await batches.move(id, 'failed');
  for (let round = 0; round < 6; round += 1) {
    const more = await Promise.all(Array.from({ length: MOST_BATCHES - 1 }, () => begin('crowd')));
    expect(await outcomes('too_many_batches', [begin('crowd')])).toEqual([0, 1]);
    for (const { id } of more) await batches.move(id, 'failed');
  }
  // A repetition gets the batch that is there, full or not, and nobody else does.
  expect((await begin('crowd', first)).id).toBe(first);
  await expect(begin('another', first)).rejects.toMatchObject({ code: 'batch_not_found' });
});

test('of files that are uploaded at the same time, as many are kept as there are places', async () => {
  const files = new BatchFiles(
    redis,
    server.keys,
    new FolderBlobs(server.folder),
    new StorageGate(redis, { share: 0.9 }),
  );
  const stored = await files.store(Readable.from([Buffer.from('{}\n')]));
  const upload = (id = newFileId()) => ({ id, tenant: 'crowd', keyId: 'k', filename: 'f', ...stored });
  const ids = Array.from({ length: MOST_FILES + 25 }, newFileId);
  expect(
    await outcomes(
      'too_many_files',
      ids.map((id) => files.keep(upload(id))),
    ),
  ).toEqual([MOST_FILES, 25]);
  const kept = (await files.list('crowd', { limit: 1 })).files[0];
  expect(kept && (await files.keep(upload(kept.id)))).toEqual(kept);
  expect(await redis.zcard(server.keys.filesOf('crowd'))).toBe(MOST_FILES);
});

test('of files that are uploaded at the same time, as many are kept as their tenant may have bytes', async () => {
  const gate = new StorageGate(redis, { share: 0.9 });
  const files = new BatchFiles(redis, server.keys, new FolderBlobs(server.folder), gate);
  const stored = await files.store(Readable.from([Buffer.alloc(1_000)]));
  const upload = (tenant: string, id = newFileId()) => ({ id, tenant, keyId: 'k', filename: 'f', ...stored });
  const most = 10_500;
  const keep = (tenant: string) => files.keep(upload(tenant), { most });
  expect(
    await outcomes(
      'too_many_files',
      Array.from({ length: 40 }, () => keep('heavy')),
    ),
  ).toEqual([10, 30]);
  await files.requireRoom('heavy', most);
  await expect(files.requireRoom('heavy', 10_000)).rejects.toMatchObject({ code: 'too_many_files' });
  await expect(keep('other')).resolves.toMatchObject({ bytes: 1_000 });
  // What is deleted makes room.
  const [first] = (await files.list('heavy', { limit: 1 })).files;
  await files.remove('heavy', first?.id ?? '');
  expect(await outcomes('too_many_files', [keep('heavy'), keep('heavy')])).toEqual([1, 1]);
});
