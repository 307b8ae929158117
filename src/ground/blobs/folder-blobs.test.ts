import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { blobContract } from '../../../test/support/blob-contract.ts';
import { folderRecords } from './records.ts';
import { sha256Hex } from './sha256.ts';
import { FolderBlobs } from './folder-blobs.ts';

const root = mkdtempSync(join(tmpdir(), 'cs-blobs-'));
const newFolder = () => mkdtempSync(join(root, 'b-'));
const HOUR = 3_600_000;
const longAgo = new Date(Date.now() - 10 * HOUR);

afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('a folder of blobs', () => {
  const store = () => {
    const folder = newFolder();
    return Promise.resolve({ blobs: new FolderBlobs(folder), records: folderRecords(join(folder, 'records')) });
  };
  const files = (folder: string) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);
  blobContract(() => ({
    store,
    names: ({ place }) => Promise.resolve(files(place).toSorted()),
    damage({ place }, digest) {
      writeFileSync(join(place, digest.slice(0, 2), digest), 'other bytes.');
      return Promise.resolve();
    },
  }));
});

describe('the collection of old blobs', () => {
  test('removes what was not stored or touched for long, and what a crash left, and nothing else', async () => {
    const folder = newFolder();
    const store = new FolderBlobs(folder);
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
    const store = new FolderBlobs(folder);
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
    const others = await new FolderBlobs(elsewhere).put(bytes);
    symlinkSync(elsewhere, join(folder, 'jobs', 'ln'));
    const theirs = join(folder, 'jobs', 'wo', 'job_two');
    for (const path of [join(theirs, digest.slice(0, 2), digest), theirs, join(elsewhere, others.slice(0, 2), others)])
      utimesSync(path, longAgo, longAgo);
    expect(await store.removeOld(HOUR)).toBe(1);
    expect(readdirSync(join(folder, 'jobs', 'wo'))).toEqual([]);
    expect(await new FolderBlobs(elsewhere).get(others, 100)).toEqual(bytes);
  });

  test('never takes a blob away that is stored again meanwhile', async () => {
    const folder = newFolder();
    const store = new FolderBlobs(folder);
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

describe('what stands in the place of a blob and is no file', () => {
  const bytes = Buffer.from('elsewhere');
  const digest = sha256Hex(bytes);
  /** What a worker can put into the folder of its pool. */
  const OTHERS: Record<string, (path: string) => unknown> = {
    'a pipe that nobody writes into': (path) => execFileSync('mkfifo', [path]),
    'a link to a device without an end': (path) => {
      symlinkSync('/dev/zero', path);
    },
    'a link to the very bytes, elsewhere': (path) => {
      const elsewhere = join(newFolder(), 'file');
      writeFileSync(elsewhere, bytes);
      symlinkSync(elsewhere, path);
    },
    'a link to itself': (path) => {
      symlinkSync(path, path);
    },
    'a folder': (path) => mkdirSync(path),
    'a socket': (path) =>
      new Promise((resolve) => {
        const server = createServer().listen(path, () => resolve(server.unref()));
      }),
  };

  test.each(Object.entries(OTHERS))('%s is a blob that is missing, and holds up no reader', async (name, put) => {
    // The path of a socket has 107 bytes at most.
    const folder = mkdtempSync('/tmp/b');
    mkdirSync(join(folder, digest.slice(0, 2)));
    await put(join(folder, digest.slice(0, 2), digest));
    const store = new FolderBlobs(folder);
    // More of them than a process has threads for files.
    const reads = Array.from({ length: 8 }, () => store.get(digest, 1_000_000));
    for (const read of await Promise.allSettled(reads))
      expect(read).toMatchObject({ status: 'rejected', reason: { code: 'blob_missing' } });
    await expect(store.read(digest).next()).rejects.toMatchObject({ code: 'blob_missing' });
    // Whoever stores the blob puts it in the place of whatever can be replaced.
    const stored = store.put(bytes).then(() => store.get(digest, 100));
    if (name === 'a folder') await expect(stored).rejects.toThrow();
    else expect(await stored).toEqual(bytes);
    rmSync(folder, { recursive: true, force: true });
  });
});
