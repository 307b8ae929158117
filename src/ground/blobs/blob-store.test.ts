import { mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { BlobStore } from './blob-store.ts';

const root = mkdtempSync(join(tmpdir(), 'cs-blobs-'));
const newFolder = () => mkdtempSync(join(root, 'b-'));
const HOUR = 3_600_000;
const longAgo = new Date(Date.now() - 10 * HOUR);

describe('the collection of old blobs', () => {
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test('removes what was not stored or touched for long, and what a crash left, and nothing else', async () => {
    const folder = newFolder();
    const store = new BlobStore(folder);
    const [old, touched, fresh] = await Promise.all(
      ['old', 'touched', 'fresh'].map((text) => store.put(Buffer.from(text))),
    );
    for (const digest of [old, touched])
      utimesSync(join(folder, digest?.slice(0, 2) ?? '', digest ?? ''), longAgo, longAgo);
    expect(await store.touch(touched ?? '')).toBe(true);
    expect(await store.removeOld(HOUR)).toBe(1);
    await expect(store.get(old ?? '', 100)).rejects.toMatchObject({ code: 'blob_missing' });
    for (const digest of [touched, fresh]) expect((await store.get(digest ?? '', 100)).length).toBeGreaterThan(0);
  });

  test('takes what belongs to one owner and never what another one has of the same', async () => {
    const folder = newFolder();
    const store = new BlobStore(folder);
    const bytes = Buffer.from('asked twice');
    const digests = await Promise.all([store, store.of('job_one'), store.of('job_two')].map((one) => one.put(bytes)));
    const digest = digests[0] ?? '';
    await store.of('job_one').remove();
    await store.of('job_one').remove();
    await expect(store.of('job_one').get(digest, 100)).rejects.toMatchObject({ code: 'blob_missing' });
    for (const kept of [store, store.of('job_two')]) expect(await kept.get(digest, 100)).toEqual(bytes);
    expect(() => store.of('../job')).toThrow();

    // By its age as well, with the folders that held it; and never through a link that leads elsewhere.
    const elsewhere = newFolder();
    const others = await new BlobStore(elsewhere).put(bytes);
    symlinkSync(elsewhere, join(folder, 'jobs', 'ln'));
    const theirs = join(folder, 'jobs', 'wo', 'job_two');
    for (const path of [join(theirs, digest.slice(0, 2), digest), theirs, join(elsewhere, others.slice(0, 2), others)])
      utimesSync(path, longAgo, longAgo);
    expect(await store.removeOld(HOUR)).toBe(1);
    expect(readdirSync(join(folder, 'jobs', 'wo'))).toEqual([]);
    expect(await new BlobStore(elsewhere).get(others, 100)).toEqual(bytes);
  });

  test('never takes a blob away that is stored again meanwhile', async () => {
    const folder = newFolder();
    const store = new BlobStore(folder);
    const bytes = Buffer.from('stored again and again');
    const digest = await store.put(bytes);
    const path = join(folder, digest.slice(0, 2), digest);
    for (let round = 0; round < 300; round += 1) {
      utimesSync(path, longAgo, longAgo);
      await Promise.all([store.removeOld(HOUR), store.put(bytes), store.removeOld(HOUR)]);
      expect(await store.get(digest, 100)).toEqual(bytes);
    }
    expect(readdirSync(join(folder, digest.slice(0, 2)))).toEqual([digest]);
  });
});
