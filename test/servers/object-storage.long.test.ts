import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { S3Blobs } from '../../src/ground/blobs/s3-blobs.ts';
import type { BlobStore } from '../../src/ground/blobs/blob-store.ts';
import { objectRecords } from '../../src/ground/blobs/records.ts';
import { Storage } from '../../src/ground/blobs/storage.ts';
import { S3Client } from '../../src/ground/objects/s3-client.ts';
import { S3Objects } from '../../src/ground/objects/s3-objects.ts';
import { blobContract } from '../support/blob-contract.ts';
import { Ceph, hasCeph, type S3User } from '../support/ceph.ts';
import { S3Faults, type Fault } from '../support/s3-faults.ts';

const isHere = hasCeph();
const PATIENCE_MS = 1_500;

(isHere ? describe : describe.skip)('the object gateway of Ceph', () => {
  let ceph: Ceph;
  let user: S3User;
  let faults: S3Faults;
  let stores = 0;

  beforeAll(async () => {
    ceph = await Ceph.start();
    user = await ceph.bucket('blobs');
    faults = await S3Faults.start(ceph.url);
  });
  afterAll(async () => {
    await faults[Symbol.asyncDispose]();
    await ceph[Symbol.asyncDispose]();
  });

  /** A place in the bucket where nothing is; what asks goes through the faults. */
  const objectsOf = (url: string) => {
    const client = new S3Client({ endpoint: url, region: ceph.region, keyFile: user.keyFile, patienceMs: PATIENCE_MS });
    return new S3Objects(client, { bucket: 'blobs', prefix: `store-${(stores += 1)}/` });
  };
  const namesOf = async (place: string) => {
    const names: string[] = [];
    for await (const { name } of new Storage(configOf()).objects(place).list()) names.push(name);
    return names;
  };
  const configOf = () => ({ ...ceph.environment(user), COUNTERSIGN_S3_REGION: ceph.region });

  describe('blobs in it', () => {
    blobContract(() => ({
      store() {
        const objects = objectsOf(ceph.url);
        return Promise.resolve({ blobs: new S3Blobs(objects), records: objectRecords(objects.in('records')) });
      },
      names: ({ place }: BlobStore) => namesOf(place),
      async damage({ place }, digest) {
        const objects = new Storage(configOf()).objects(place);
        for (const name of await namesOf(place))
          if (name.includes(digest)) await objects.put(name, Buffer.from('other bytes.'));
      },
    }));
  });

  describe('with faults between', () => {
    const CONTENT = Buffer.alloc(100_000, 'what must never be taken for whole ');
    const PASSING: Record<string, Fault> = {
      'a server that is broken': { kind: 'answer', status: 500, code: 'InternalError' },
      'one that is overloaded': { kind: 'answer', status: 503, code: 'SlowDown' },
      'one that says nothing': { kind: 'silent' },
      'a connection that breaks before the answer': { kind: 'unanswered' },
      'one that breaks in the middle of it': { kind: 'torn' },
    };

    test.each(Object.entries(PASSING))('%s: what is asked again goes well, once', async (_, fault) => {
      const objects = objectsOf(faults.url);
      const blobs = new S3Blobs(objects);
      // Each request in turn fails the first time.
      const seen = new Set<string>();
      faults.decide = ({ method, path }) => {
        const request = `${method} ${path}`;
        if (seen.has(request)) return undefined;
        seen.add(request);
        return fault;
      };
      const digest = await blobs.put(CONTENT);
      expect((await blobs.get(digest, CONTENT.length)).equals(CONTENT)).toBe(true);
      expect(await blobs.touch(digest)).toBe(true);
      // A write whose answer was lost is known as ours.
      expect(await objects.create('record', CONTENT)).toBe(true);
      expect(await objects.create('record', Buffer.from('of another'))).toBe(false);
      faults.all(undefined);
      expect((await namesOf(blobs.place)).filter((name) => name.includes(digest))).toHaveLength(2);
      expect(faults.happened.get(fault.kind)).toBeGreaterThan(4);
    });

    test.each(Object.entries(PASSING))(
      '%s, and stays: it is storage that is away, after few tries',
      async (_, fault) => {
        const blobs = new S3Blobs(objectsOf(faults.url));
        faults.all(undefined);
        const digest = await blobs.put(CONTENT);
        faults.all(fault);
        faults.passed.length = 0;
        await expect(blobs.get(digest, CONTENT.length)).rejects.toMatchObject({ code: 'storage_unavailable' });
        expect(faults.passed).toHaveLength(4);
        // The answer to a write has no body that could be torn.
        const writes = fault.kind === 'torn' ? [] : [() => blobs.put(CONTENT), () => blobs.probe()];
        for (const write of writes) await expect(write()).rejects.toMatchObject({ code: 'storage_unavailable' });
        expect(faults.passed).toHaveLength(4 + 4 * writes.length);
        faults.all(undefined);
        await blobs.probe();
        expect((await blobs.get(digest, CONTENT.length)).equals(CONTENT)).toBe(true);
      },
    );

    test('a body that ends early and says so is no object: it is never taken for whole', async () => {
      const blobs = new S3Blobs(objectsOf(faults.url));
      faults.all(undefined);
      const digest = await blobs.put(CONTENT);
      faults.decide = ({ path }) => (path.includes(`${digest}/`) ? { kind: 'short' } : undefined);
      await expect(blobs.get(digest, CONTENT.length)).rejects.toMatchObject({ code: 'storage_unavailable' });
      faults.all(undefined);
    });

    test('a refusal is not asked again, and is storage that is away', async () => {
      const blobs = new S3Blobs(objectsOf(faults.url));
      faults.all({ kind: 'answer', status: 403, code: 'AccessDenied' });
      faults.passed.length = 0;
      await expect(blobs.put(CONTENT)).rejects.toMatchObject({ code: 'storage_unavailable' });
      expect(faults.passed).toHaveLength(1);
      faults.all({ kind: 'answer', status: 403, code: 'QuotaExceeded' });
      await expect(blobs.put(CONTENT)).rejects.toMatchObject({ code: 'storage_full' });
      faults.all(undefined);
    });

    test('a bucket that is not there is storage that is away, and no blob that is missing', async () => {
      const client = new S3Client({ endpoint: ceph.url, region: ceph.region, keyFile: user.keyFile });
      const blobs = new S3Blobs(new S3Objects(client, { bucket: 'no-such-bucket', prefix: '' }));
      await expect(blobs.get('0'.repeat(64), 10)).rejects.toMatchObject({ code: 'storage_unavailable' });
      await expect(
        objectRecords(new S3Objects(client, { bucket: 'no-such-bucket', prefix: '' })).read('x'),
      ).rejects.toMatchObject({
        code: 'storage_unavailable',
      });
    });
  });
});
