import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { uploadParts } from '../../src/core/leasing/upload-parts.ts';
import { Uploads } from '../../src/core/leasing/uploads.ts';
import { poolFolder } from '../../src/ground/blobs/blob-folders.ts';
import { S3Blobs } from '../../src/ground/blobs/s3-blobs.ts';
import type { BlobStore } from '../../src/ground/blobs/blob-store.ts';
import { objectRecords } from '../../src/ground/blobs/records.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { ObjectTree } from '../../src/ground/blobs/file-tree.ts';
import { Storage } from '../../src/ground/blobs/storage.ts';
import { S3Client } from '../../src/ground/blobs/s3-client.ts';
import { S3Objects } from '../../src/ground/blobs/s3-objects.ts';
import { DataFolder } from '../../src/roles/cli/data-folder.ts';
import { storageFindings } from '../../src/roles/cli/doctor-storage.ts';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { treeContract } from '../support/tree-contract.ts';
import { blobContract } from '../support/blob-contract.ts';
import { Ceph, hasCeph, type S3User } from '../support/ceph.ts';
import { NOOP_MODEL, Pipeline, completion, embedModel, until, type Client } from '../support/pipeline.ts';
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
      expect(['created', 'same']).toContain(await objects.create('record', CONTENT));
      expect(await objects.create('record', CONTENT)).toBe('same');
      expect(await objects.create('record', Buffer.from('of another'))).toBe('other');
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

  test('parts that workers upload are whole in it however gateways take turns', async () => {
    const storage = new Storage(configOf());
    const place = `s3://blobs/uploads-${(stores += 1)}`;
    const blobs = storage.blobs(place);
    const gateway = () => new Uploads(uploadParts(storage, place), blobs);
    const about = { job: `job_0000${'0'.repeat(26)}`, epoch: 1, sha256: sha256Hex('abcdef'), total: 6 };
    const take = (offset: number, text: string) => gateway().take({ ...about, offset, bytes: Buffer.from(text) });
    expect(await take(3, 'def')).toEqual({ bytes: 0, whole: false });
    expect(await take(0, 'abc')).toEqual({ bytes: 3, whole: false });
    expect(await take(0, 'abc')).toEqual({ bytes: 3, whole: false });
    expect(await take(2, 'cdef')).toEqual({ bytes: 6, whole: true });
    expect((await blobs.of(about.job).get(about.sha256, 6)).toString()).toBe('abcdef');
    const other = { ...about, sha256: sha256Hex('others'), offset: 0, bytes: Buffer.from('abcdef') };
    await expect(gateway().take(other)).rejects.toMatchObject({ code: 'upload_differs' });
    expect((await namesOf(place)).filter((name) => name.startsWith('uploads/'))).toEqual([]);
  });

  describe('a log and its archive in it', () => {
    treeContract(() => new ObjectTree(objectsOf(ceph.url)));
  });

  describe('a pipeline whose blobs, files, log and archive lie in it', () => {
    /** An input that stands in the bucket and not in Redis. */
    const LARGE = 'a large input '.repeat(1_000);
    const TEXTS = Array.from({ length: 40 }, (_, at) => `text number ${at}`);
    let pipeline: Pipeline;
    let client: Client;
    let workers: S3User;

    beforeAll(async () => {
      workers = await ceph.user('workers');
      await ceph.bucket('service', ofPool('workers', 'service', 'blobs/pools/default/'));
      pipeline = await Pipeline.prepare([NOOP_MODEL, embedModel()]);
      const trusted = {
        ...ceph.environment(user, faults.url),
        COUNTERSIGN_BLOBS: 's3://service/blobs',
        COUNTERSIGN_TLOG: 's3://service/log',
        'api:COUNTERSIGN_FILES': 's3://service/files',
        'courier:COUNTERSIGN_FILES': 's3://service/files',
      };
      const ofWorkers = {
        ...ceph.environment(workers, faults.url),
        COUNTERSIGN_BLOBS: poolFolder('s3://service/blobs', 'default'),
      };
      faults.all(undefined);
      await Promise.all([
        pipeline.api(trusted),
        pipeline.worker(1, ofWorkers),
        pipeline.attestor(trusted),
        pipeline.courier(trusted),
      ]);
      client = await pipeline.client();
    });
    afterAll(() => pipeline[Symbol.asyncDispose]());

    const readiness = async () => {
      const response = await client.fetch('/health/ready');
      return { status: response.status, detail: ((await response.json()) as { detail: string }).detail };
    };

    test('a job with a large input is done, and nothing of it lies in a folder', async () => {
      const { id } = await client.submit(completion(LARGE));
      expect((await client.ended(id)).state).toBe('done');
      expect((await namesOf('s3://service/blobs/pools/default/jobs')).some((name) => name.includes(id))).toBe(true);
      expect(readdirSync(join(pipeline.folder, 'blobs'))).toEqual([]);
    });

    test('a large output is handed in through it, confirmed and kept in it', async () => {
      const { id } = await client.submit({ model: 'use-lite', task: 'embedding', input: { texts: TEXTS } });
      const job = await client.ended(id);
      expect(job.state).toBe('done');
      const output = await client.output(id);
      expect(output.length).toBeGreaterThan(4_096);
      const kept = await namesOf('s3://service/blobs/kept');
      expect(kept.filter((name) => name.includes(`${id}/`) && name.includes(sha256Hex(output)))).toHaveLength(1);
    });

    test('the log and its archive grow in it, and whoever audits it there finds it sound', async () => {
      const before = (await client.run(completion('logged'))).id;
      const names = await namesOf('s3://service/log');
      expect(names).toEqual(expect.arrayContaining(['checkpoint', expect.stringContaining('archive/000/000/000/')]));
      expect(existsSync(join(pipeline.folder, 'log'))).toBe(false);
      verifyReceipt(await client.receipt(before), pipeline.keyring, { output: await client.output(before) });
      const report = await auditLog(
        async (path) =>
          (await client.fetch(`/log/${path}`)).ok
            ? Buffer.from(await (await client.fetch(`/log/${path}`)).arrayBuffer())
            : undefined,
        pipeline.keyring.logPolicy,
        [],
      );
      expect(report.size).toBeGreaterThan(0);
    });

    test('what Redis has lost of the log comes back from it', async () => {
      const done = await client.run(completion('kept in the bucket'));
      const archive = new JobArchive(new Storage(configOf()).files('s3://service/log'));
      expect(await archive.find(done.id)).toBeDefined();
      await pipeline.redis.client().unlink(pipeline.redis.keys.record(done.id));
      expect((await client.job(done.id)).state).toBe('done');
      expect((await client.output(done.id)).length).toBeGreaterThan(0);
    });

    test('a batch is read from it and its results are written to it', async () => {
      const form = new FormData();
      const lines = Array.from({ length: 20 }, (_, at) => ({
        custom_id: `line-${at}`,
        method: 'POST',
        url: '/v1/completions',
        body: { model: 'noop', prompt: `${at}`, max_tokens: 8 },
      }));
      form.set('purpose', 'batch');
      form.set('file', new Blob([lines.map((line) => JSON.stringify(line)).join('\n')]), 'lines.jsonl');
      const file = await client.json<{ id: string }>('/v1/files', { method: 'POST', body: form });
      const asked = { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' };
      const begun = await client.post('/v1/batches', asked);
      const { id } = (await begun.json()) as { id: string };
      const results = await until(async () => {
        const batch = await client.json<{ status: string; output_file_id?: string }>(`/v1/batches/${id}`);
        return batch.status === 'completed' && batch.output_file_id;
      });
      const text = await (await client.fetch(`/v1/files/${results}/content`)).text();
      expect(text.trim().split('\n')).toHaveLength(20);
      expect(await namesOf('s3://service/files')).not.toEqual([]);
    });

    test('a key of the workers reads and writes what is of their pool, and nothing else', async () => {
      const storage = new Storage({ ...ceph.environment(workers), COUNTERSIGN_S3_REGION: ceph.region });
      const [pool, kept] = ['pools/default', 'kept'].map((name) =>
        storage.blobs(`s3://service/blobs/${name}`).of('job_x'),
      );
      const digest = (await pool?.put(Buffer.from('mine'))) ?? '';
      expect((await pool?.get(digest, 10))?.toString()).toBe('mine');
      const trusted = new Storage(configOf()).blobs('s3://service/blobs/kept').of('job_x');
      await trusted.put(Buffer.from('mine'));
      await expect(kept?.get(digest, 10)).rejects.toMatchObject({ code: 'storage_unavailable' });
      await expect(kept?.put(Buffer.from('other'))).rejects.toMatchObject({ code: 'storage_unavailable' });
      await expect(kept?.remove()).rejects.toMatchObject({ code: 'storage_unavailable' });
    });

    test('the doctor says what a key may not do, and of a server that replaces what is there', async () => {
      const found = async (user: S3User, place: string, url = ceph.url) => {
        const environment = { ...ceph.environment(user, url), COUNTERSIGN_BLOBS: place };
        const [finding] = await storageFindings('worker', new DataFolder(pipeline.folder, environment));
        return finding;
      };
      expect(await found(workers, poolFolder('s3://service/blobs', 'default'))).toMatchObject({ ok: true });
      const refused = await found(workers, 's3://service/blobs');
      expect([refused?.ok, refused?.found]).toEqual([false, expect.stringContaining('403 AccessDenied')]);
      expect(await found(workers, 's3://NoBucket')).toMatchObject({ ok: false });
      let writes = 0;
      faults.decide = ({ method, path }) =>
        method === 'PUT' && path.includes('/asked/probe/') && (writes += 1) === 2
          ? { kind: 'answer', status: 200, code: '' }
          : undefined;
      const replaced = await found(user, 's3://service/asked', faults.url);
      expect(replaced?.found).toContain('does not heed If-None-Match');
      faults.all(undefined);
    });

    test('while it is away: 503 and not ready, nothing is claimed and no attempt burnt; all goes on by itself', async () => {
      const large = () => client.post('/v1/jobs', completion(LARGE, { attempts: 1 }));
      expect((await large()).status).toBe(202);
      faults.all({ kind: 'answer', status: 503, code: 'SlowDown' });
      await until(async () => (await readiness()).detail.includes('no worker is consuming (storage_unavailable)'));
      expect((await readiness()).status).toBe(503);
      const refused = await large();
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
      expect(await refused.json()).toMatchObject({ code: 'storage_unavailable' });
      const waits = await client.submit(completion('small', { attempts: 1 }));
      expect((await client.job(waits.id)).attempts).toEqual([]);
      faults.all(undefined);
      const { state, attempts } = await client.ended(waits.id);
      expect([state, attempts.length]).toEqual(['done', 1]);
      await until(async () => (await readiness()).status === 200);
      expect((await large()).status).toBe(202);
    });

    test('a read that fails while a worker holds the job gives it back without an attempt', async () => {
      const worker = pipeline.running().find(({ name }) => name === 'worker-1');
      worker?.process.kill('SIGSTOP');
      const { id } = await client.submit(completion(LARGE, { attempts: 1 }));
      // Whoever reads the input of this job hears half of it, again and again; whoever writes is served.
      faults.decide = ({ method, path }) =>
        method === 'GET' && path.includes(`/${id}/`) && !path.includes('list-type') ? { kind: 'torn' } : undefined;
      worker?.process.kill('SIGCONT');
      await until(async () => (await client.job(id)).attempts[0]?.closed ?? undefined);
      faults.all(undefined);
      const { state, attempts } = await client.ended(id);
      expect(state).toBe('done');
      expect(attempts.length).toBeGreaterThan(1);
      for (const { closed } of attempts.slice(0, -1))
        expect([closed?.why, closed?.detail]).toEqual(['void', 'storage_unavailable']);
    });
  });
});

/** What docs/object-storage.md gives the workers of a pool. */
function ofPool(name: string, bucket: string, prefix: string): object {
  const Principal = { AWS: [`arn:aws:iam:::user/${name}`] };
  return {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal,
        Action: ['s3:GetObject', 's3:PutObject', 's3:DeleteObject'],
        Resource: `arn:aws:s3:::${bucket}/${prefix}*`,
      },
      {
        Effect: 'Allow',
        Principal,
        Action: 's3:ListBucket',
        Resource: `arn:aws:s3:::${bucket}`,
        Condition: { StringLike: { 's3:prefix': `${prefix}*` } },
      },
      // An object of Ceph belongs to whoever wrote it, and its owner alone may read it otherwise.
      {
        Effect: 'Allow',
        Principal: { AWS: ['arn:aws:iam:::user/root'] },
        Action: 's3:*',
        Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
      },
    ],
  };
}
