import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FolderBlobs } from '../../ground/blobs/folder-blobs.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { Storage } from '../../ground/blobs/storage.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { uploadParts } from './upload-parts.ts';
import { Uploads } from './uploads.ts';

const folder = mkdtempSync(join(tmpdir(), 'cs-uploads-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const blobs = new FolderBlobs(folder);
let jobs = 0;
const newJob = () => `job_0000${String((jobs += 1)).padStart(26, '0')}`;
const left = () => readdirSync(join(folder, 'uploads'));

describe('Uploads', () => {
  test('a blob is whole however its parts are cut, lost, doubled and taken by one gateway after another', async () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 400 });
    const steps = fc.array(fc.record({ length: fc.integer({ min: 0, max: 90 }), isLost: fc.boolean() }), {
      minLength: 1,
      maxLength: 10,
    });
    await fc.assert(
      fc.asyncProperty(bytes, steps, async (whole, plan) => {
        const about = { job: newJob(), epoch: 1, sha256: sha256Hex(whole), total: whole.length };
        let [offset, isWhole] = [0, false];
        for (let at = 0; !isWhole; at += 1) {
          const { length = 90, isLost = false } = plan[at] ?? {};
          const uploads = new Uploads(uploadParts(new Storage(), folder), blobs);
          const part = { ...about, offset, bytes: whole.subarray(offset, offset + length) };
          const has = await uploads.take(part);
          // Where its answer is lost, the same part is sent again.
          const again = isLost ? await uploads.take(part) : has;
          expect(again.bytes).toBeGreaterThanOrEqual(has.bytes);
          [offset, isWhole] = [again.bytes, again.whole];
        }
        expect(await blobs.of(about.job).get(about.sha256, 400)).toEqual(Buffer.from(whole));
      }),
      { numRuns: 40 },
    );
    expect(left()).toEqual([]);
  });

  test('what would leave a hole is not written, and the worker hears where to go on', async () => {
    const part = { job: newJob(), epoch: 1, sha256: sha256Hex('abcdef'), total: 6, bytes: Buffer.from('def') };
    const uploads = new Uploads(uploadParts(new Storage(), folder), blobs);
    expect(await uploads.take({ ...part, offset: 3 })).toEqual({ bytes: 0, whole: false });
    await uploads.take({ ...part, offset: 0, bytes: Buffer.from('abc') });
    expect(await uploads.take({ ...part, offset: 3 })).toEqual({ bytes: 6, whole: true });
  });

  test('other bytes than announced are refused and kept nowhere; so are blobs too large, and the fifth', async () => {
    const uploads = new Uploads(uploadParts(new Storage(), folder), blobs);
    const job = newJob();
    const take = (text: string, sha256 = sha256Hex(text), total = text.length) =>
      uploads.take({ job, epoch: 1, sha256, total, offset: 0, bytes: Buffer.from(text) });
    await expect(take('other', sha256Hex('bytes'))).rejects.toMatchObject({ code: 'upload_differs' });
    await expect(take('x', sha256Hex('x'), MAX_OUTPUT_BYTES + 1)).rejects.toMatchObject({ code: 'request_invalid' });
    await expect(take('longer', sha256Hex('longer'), 2)).rejects.toMatchObject({ code: 'request_invalid' });
    for (const text of ['one', 'two', 'three']) expect(await take(text)).toMatchObject({ whole: true });
    await expect(take('four')).rejects.toMatchObject({ code: 'request_invalid' });
    expect(left()).toEqual([]);
  });
});
