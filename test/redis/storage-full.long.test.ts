import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { poolFolder } from '../../src/ground/blobs/blob-folders.ts';
import { smallDisk, type SmallDisk } from '../support/small-disk.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';

const MAX_BYTES = 64 * 1_048_576;
const DISK_BYTES = 32 * 1_048_576;
/** An input that stands on the disk and not in Redis. */
const LARGE = 'a large input '.repeat(1_000);

/** A Redis with little memory, and everything that does jobs on it. */
let pipeline: Pipeline;
let client: Client;
/** Where blobs stand: on a disk of their own, where this machine mounts one. */
let disk: SmallDisk | undefined;
let blobs: string;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL], { redisConfig: [`maxmemory ${MAX_BYTES}`] });
  disk = await smallDisk(DISK_BYTES);
  blobs = disk?.folder ?? join(pipeline.folder, 'blobs');
  const env = { COUNTERSIGN_BLOBS: blobs };
  await Promise.all([
    pipeline.api(env),
    pipeline.worker(1, { COUNTERSIGN_BLOBS: poolFolder(blobs, 'default') }),
    pipeline.attestor(env),
    pipeline.courier(env),
  ]);
  client = await pipeline.client();
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await disk?.remove();
});

/** Fills Redis to this share of its memory with what is nobody's, or takes it away again. */
async function fill(share: number): Promise<void> {
  const admin = pipeline.redis.client();
  await admin.unlink('ballast');
  const used = async () => Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]);
  await until(async () => (await used()) < 0.5 * MAX_BYTES);
  for (let missing = 1; missing > 0;) {
    missing = Math.floor(share * MAX_BYTES - (await used()));
    if (missing <= 0) return;
    await admin.rpush('ballast', Buffer.alloc(Math.min(missing, 262_144)));
  }
}

const submit = (url = client.url, key?: string) =>
  fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${client.key}`,
      'content-type': 'application/json',
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    body: JSON.stringify(completion('is there room')),
  });
const upload = (url = client.url) => {
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set('file', new Blob(['{}\n']), 'lines.jsonl');
  return fetch(`${url}/v1/files`, { method: 'POST', headers: { authorization: `Bearer ${client.key}` }, body: form });
};
const readiness = async () => {
  const response = await fetch(`${client.url}/health/ready`);
  return { status: response.status, detail: ((await response.json()) as { detail: string }).detail };
};

describe('a Redis whose memory is nearly used up', () => {
  test('503 storage_full: nothing new is taken, what was taken goes on, and it opens by itself when there is room', async () => {
    const hand = pipeline.running().find(({ name }) => name === 'worker-1');
    hand?.process.kill('SIGSTOP');
    const before = await client.submit(completion('taken before'), { 'idempotency-key': 'before' });
    const known = await submit(client.url, 'again');
    expect(known.status).toBe(202);
    await fill(0.93);
    await until(async () => (await submit()).status === 503);
    const refused = await submit();
    expect(await refused.json()).toMatchObject({ code: 'storage_full', status: 503 });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await readiness()).detail).toContain('the storage is nearly full');
    expect((await readiness()).status).toBe(503);
    const file = await upload();
    expect([file.status, ((await file.json()) as { error: { code: string } }).error.code]).toEqual([
      503,
      'storage_full',
    ]);
    // The same request again is not new.
    expect((await submit(client.url, 'again')).status).toBe(202);

    hand?.process.kill('SIGCONT');
    expect((await client.ended(before.id)).state).toBe('done');

    // Between the two marks it stays closed, also once the API has looked, and whoever else looks.
    await fill(0.88);
    const admin = pipeline.redis.client();
    const asked = async () => Number(/^cmdstat_info:calls=(\d+)/m.exec(await admin.info('commandstats'))?.[1] ?? 0);
    let own = 0;
    const begin = await asked();
    await until(async () => {
      expect((await submit()).status).toBe(503);
      own += 1;
      return (await asked()) - begin - own >= 4;
    });
    expect((await submit()).status).toBe(503);
    await fill(0.6);
    await until(async () => (await submit()).status === 202);
    await until(async () => (await readiness()).status === 200);
  });

  test('503 storage_full, and never a 500, where Redis itself refuses to write', async () => {
    const open = await pipeline.run('open', 'api', {
      ...pipeline.environment('api'),
      COUNTERSIGN_STORAGE_BYTES: String(2 ** 40),
    });
    const url = String(open.facts['url']);
    expect((await submit(url)).status).toBe(202);
    await fill(0.8);
    const admin = pipeline.redis.client();
    await admin.config('SET', 'maxmemory', Math.floor(MAX_BYTES / 2));
    for (const answer of [await submit(url), await upload(url)]) {
      const body = (await answer.json()) as { code?: string; error?: { code: string } };
      expect([answer.status, body.code ?? body.error?.code]).toEqual([503, 'storage_full']);
      expect(answer.headers.get('retry-after')).toBe('5');
    }
    await admin.config('SET', 'maxmemory', MAX_BYTES);
    expect((await submit(url)).status).toBe(202);
  });
});

describe('a disk of blobs', () => {
  test('that is full: 503 storage_full, not ready, nothing is claimed and no attempt burnt; all goes on by itself when there is room', async () => {
    if (disk === undefined) {
      process.stderr.write('SKIPPED: this machine mounts no small disk; a full one is not tested.\n');
      return;
    }
    const large = () => client.post('/v1/jobs', completion(LARGE, { attempts: 1 }));
    expect((await large()).status).toBe(202);
    disk.fill();
    await until(async () => (await readiness()).detail.includes('no worker is consuming (storage_full)'));
    await until(async () => (await readiness()).detail.includes('the storage of blobs is full'));
    expect((await readiness()).status).toBe(503);
    const refused = await large();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await refused.json()).toMatchObject({ code: 'storage_full' });
    const waits = await client.submit(completion('small', { attempts: 1 }));
    const worker = pipeline.running().find(({ name }) => name === 'worker-1');
    expect(worker?.stderr()).toContain('blobs cannot be stored');
    expect((await client.job(waits.id)).attempts).toEqual([]);

    disk.empty();
    const { state, attempts } = await client.ended(waits.id);
    expect([state, attempts.length]).toEqual(['done', 1]);
    await until(async () => (await readiness()).status === 200);
    expect((await large()).status).toBe(202);
  });

  test('that a worker cannot use gives the job back without an attempt', async () => {
    const worker = pipeline.running().find(({ name }) => name === 'worker-1');
    worker?.process.kill('SIGSTOP');
    const { id } = await client.submit(completion(LARGE, { attempts: 1 }));
    const folder = join(poolFolder(blobs, 'default'), 'jobs', id.slice(-2), id);
    renameSync(folder, `${folder}.aside`);
    // A file where a folder was: what the disk answers then is not that the input is missing.
    writeFileSync(folder, '');
    worker?.process.kill('SIGCONT');
    await until(async () => (await client.job(id)).attempts[0]?.closed ?? undefined);
    rmSync(folder);
    renameSync(`${folder}.aside`, folder);
    const { state, attempts } = await client.ended(id);
    expect(state).toBe('done');
    for (const { closed } of attempts.slice(0, -1))
      expect([closed?.why, closed?.detail]).toEqual(['void', 'storage_unavailable']);
  });
});
