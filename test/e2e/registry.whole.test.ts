import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DataFolder } from '../../src/roles/cli/data-folder.ts';
import { prepare } from '../../src/roles/cli/set-up.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { ensureSigningKey, readSigningKey } from '../../src/ground/keys/key-file.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { logEntry } from '../../src/proof/tlog/log-entry.ts';
import { parseBundle } from '../../src/proof/tlog/tile.ts';
import { Announcements } from '../../src/core/catalog/announcement.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import {
  openWorkerList,
  refusalAt,
  requireStanding,
  signWorkerList,
  workerEntry,
  type WorkerEntry,
  type WorkerList,
} from '../../src/core/registry/worker-list.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';
import { longTest } from '../support/thorough.ts';

const says = (text: string): unknown => expect.stringContaining(text);
const PAST = new Date(Date.now() - 60_000).toISOString();

describe('a pool whose workers come and go', () => {
  let pipeline: Pipeline;
  beforeAll(async () => {
    pipeline = await Pipeline.start({ workers: 2 });
  });
  afterAll(async () => {
    await pipeline[Symbol.asyncDispose]();
  });
  const entries = () => pipeline.workerKeys.map(({ public: key }) => workerEntry(key, 'tester', PAST));
  const inForce = (serial: number) => {
    const admin = pipeline.redis.client();
    return until(async () => Number(await admin.zscore(pipeline.redis.keys.registry, 'serial')) >= serial);
  };

  test("a revoked or suspended worker's answers count for nothing and others do its jobs; what was done before still verifies", async () => {
    const client = await pipeline.client();
    const before = await client.submit(completion('before'));
    expect((await client.ended(before.id)).state).toBe('done');
    const receipt = await client.receipt(before.id);
    const [gone = '', kept = ''] = pipeline.workerKeys.map(({ public: key }) => workerIdOf(key));
    const now = new Date().toISOString();
    pipeline.enrol(
      entries().map((entry) =>
        entry.id === gone
          ? { ...entry, standing: { state: 'revoked' as const, from: now, compromisedSince: null, why: 'stolen' } }
          : entry,
      ),
    );
    await inForce(2);
    const jobs = await Promise.all(Array.from({ length: 12 }, (_, at) => client.submit(completion(`after ${at}`))));
    for (const { id } of jobs) {
      const job = await client.ended(id);
      expect(job.state).toBe('done');
      expect(job.attempts.at(-1)?.worker).toBe(kept);
      for (const attempt of job.attempts.slice(0, -1)) expect(attempt.closed?.detail).toBe('WORKER_REVOKED');
    }
    // By the newest list: what was done before counts, unless the key was stolen by then, or the list does
    // not know it.
    const verified = verifyReceipt(receipt, pipeline.keyring);
    const list = (standing: WorkerEntry['standing']): WorkerList => ({
      version: 3,
      serial: 9,
      issuedAt: PAST,
      expires: PAST,
      workers: entries().map((entry) => (entry.id === verified.evidence.worker.id ? { ...entry, standing } : entry)),
    });
    const revoked = { state: 'revoked', from: now, compromisedSince: null, why: '' } as const;
    requireStanding(list(revoked), verified);
    expect(() => requireStanding(list({ ...revoked, compromisedSince: PAST }), verified)).toThrow('WORKER_REVOKED');
    expect(() => requireStanding({ ...list(revoked), workers: [] }, verified)).toThrow('does not have');
    pipeline.enrol(entries());
    await inForce(3);
  });

  test('a suspended worker takes no job, uses up no attempt, counts nowhere, and works again when it is resumed', async () => {
    const client = await pipeline.client();
    const [put = '', kept = ''] = pipeline.workerKeys.map(({ public: key }) => workerIdOf(key));
    const standing = { state: 'suspended' as const, from: new Date().toISOString(), why: 'maintenance' };
    const suspend = (ids: readonly string[]) =>
      pipeline.enrol(entries().map((entry) => (ids.includes(entry.id) ? { ...entry, standing } : entry)));
    const ready = async () => (await (await fetch(`${pipeline.url}/health/ready`)).json()) as Record<string, unknown>;
    const submitAll = async (name: string) => {
      const jobs = await Promise.all(
        Array.from({ length: 20 }, (_, at) => client.submit(completion(`${name} ${at}`, { attempts: 1 }))),
      );
      return Promise.all(jobs.map(({ id }) => client.ended(id)));
    };
    suspend([put]);
    await inForce(4);
    // What it takes before it is told, and what it has in hand then, is given to the other.
    for (const job of await submitAll('while it is suspended')) {
      expect(job.state).toBe('done');
      expect(job.attempts.at(-1)?.worker).toBe(kept);
      for (const { worker, closed } of job.attempts.slice(0, -1)) expect([worker, closed?.why]).toEqual([put, 'void']);
    }
    await until(async () => (await ready())['workers'] === 1);
    for (const job of await submitAll('when it was told'))
      expect(job.attempts.map(({ worker }) => worker)).toEqual([kept]);
    const own = pipeline.running().find(({ name }) => name === 'worker-1');
    expect(own?.stderr()).toContain('WORKER_SUSPENDED');

    suspend([put, kept]);
    await until(async () => (await ready())['ready'] === false);
    expect((await ready())['detail']).toBe('no worker is consuming (WORKER_SUSPENDED)');
    const models = await client.json<{ data: { workers: number }[] }>('/v1/models');
    expect(models.data.map(({ workers }) => workers)).toEqual([0]);
    const quote = await client.post('/v1/quote', completion('nobody'));
    expect(await quote.json()).toMatchObject({ possible: false, reason: { code: 'no_worker' } });
    const waits = await client.submit(completion('waits for one', { attempts: 1 }));

    pipeline.enrol(entries());
    expect((await client.ended(waits.id)).state).toBe('done');
    await until(async () => (await ready())['workers'] === 2);
    // The one that was suspended first does as well as the other.
    await until(async () => (await submitAll('again')).some((job) => job.attempts.at(-1)?.worker === put));
  });

  test('a list that was rolled back, forged or has ended does not come into force', async () => {
    const client = await pipeline.client();
    const attestor = pipeline.running().find(({ name }) => name === 'attestor');
    const said = (text: string) => until(() => attestor?.stderr().includes(text));
    pipeline.enrol([], { serial: 1 });
    await said('it has been rolled back');
    writeFileSync(
      join(pipeline.folder, 'workers.json'),
      signWorkerList({ version: 3, serial: 99, issuedAt: PAST, expires: PAST, workers: [] }, newKey()),
    );
    await said('signed by no key of the role registry');
    // The last good list is still in force.
    expect((await client.job((await client.submit(completion('still'))).id, 20)).state).toBe('done');
    // One that has ended refutes nobody: jobs wait for the next.
    pipeline.enrol(entries(), { serial: 100, expires: PAST });
    await inForce(100);
    const { id } = await client.submit(completion('waits'));
    await said('The list of workers ended');
    expect((await client.job(id)).state).toBe('attesting');
    pipeline.enrol(entries(), { serial: 101 });
    expect((await client.ended(id)).state).toBe('done');
  });

  test('a quarantined worker claims nothing', async () => {
    const client = await pipeline.client();
    const [first = '', second = ''] = pipeline.workerKeys.map(({ public: key }) => workerIdOf(key));
    await pipeline.redis.client().sadd(pipeline.redis.keys.quarantined, first);
    const jobs = await Promise.all(Array.from({ length: 10 }, (_, at) => client.submit(completion(`q ${at}`))));
    for (const { id } of jobs) {
      const job = await client.ended(id);
      expect({ state: job.state, by: job.attempts.map(({ worker }) => worker) }).toEqual({
        state: 'done',
        by: [second],
      });
    }
    await pipeline.redis.client().srem(pipeline.redis.keys.quarantined, first);
  });

  test('a worker is heard of under its own name only: what it has not signed is nobody', async () => {
    const [redis, api] = [pipeline.redis.client('worker.default'), pipeline.redis.client('api')];
    const { keys } = pipeline.redis;
    const announcements = new Announcements(api, keys);
    const [own = ''] = pipeline.workerKeys.map(({ public: key }) => workerIdOf(key));
    const text = await until(async () => (await api.get(keys.worker('default', own))) ?? undefined);
    const victim = workerIdOf(newKey().public);
    for (const forged of [text, text.replaceAll(own, victim), JSON.stringify({ id: victim })]) {
      await redis.set(keys.worker('default', victim), forged);
      await redis.zadd(keys.workers('default'), Date.now(), victim);
      expect((await announcements.present({ role: 'worker', pool: 'default' })).some(({ id }) => id === victim)).toBe(
        false,
      );
    }
    // What it said last may be from while it worked for the tests above.
    const heard = await until(async () =>
      (await announcements.present({ role: 'worker', pool: 'default' })).find(
        ({ id, inFlight }) => id === own && inFlight === 0,
      ),
    );
    expect(heard.freeMemoryBytes).toBeGreaterThan(0);
  });

  test('the lists, the keyring and the calibrations that verdicts rest on stand in the log', async () => {
    const answer = (await (await fetch(`${pipeline.url}/log/documents`)).json()) as {
      documents: { kind: string; sha256: string; keyid: string; index: number; salt: string }[];
    };
    expect([...new Set(answer.documents.map(({ kind }) => kind))]).toEqual(
      expect.arrayContaining(['workers', 'keyring', 'calibration', 'draw']),
    );
    const text = readFileSync(join(pipeline.folder, 'keyring.json'));
    const keyring = answer.documents.find(({ sha256 }) => sha256 === sha256Hex(text));
    if (keyring === undefined) throw new Error('the keyring is not there');
    const size = Number(/\n(\d+)\n/.exec(await (await fetch(`${pipeline.url}/log/checkpoint`)).text())?.[1]);
    expect(size).toBeLessThan(256);
    const bundle = Buffer.from(await (await fetch(`${pipeline.url}/log/tile/entries/000.p/${size}`)).arrayBuffer());
    const entry = logEntry('keyring', keyring.keyid, text, Buffer.from(keyring.salt, 'base64'));
    expect(parseBundle(bundle)?.[keyring.index]).toEqual(entry);
  });

  test('workers that were started with a join token make a key, are let in as often as it says, and do jobs', async () => {
    const client = await pipeline.client();
    const path = (name: string) => join(pipeline.folder, name);
    const keeper = (...args: string[]) =>
      spawnSync(process.execPath, [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), ...args], {
        encoding: 'utf8',
        env: {
          ...pipeline.environment('attestor'),
          COUNTERSIGN_DATA: path('keeper'),
          COUNTERSIGN_REGISTRY_KEY_FILE: path('registry.key'),
        },
      });
    const invited = keeper('workers', 'invite', '--pool', 'default', '--operator', 'cloud');
    expect(invited).toMatchObject({ status: 0, stdout: says('csj_') });
    writeFileSync(path('join.token'), invited.stdout, { mode: 0o600 });
    const joiner = (name: string) =>
      pipeline.worker(3, {
        COUNTERSIGN_JOIN_TOKEN_FILE: path('join.token'),
        COUNTERSIGN_WORKER_KEY_FILE: path(`${name}.key`),
      });
    const [first, second] = await Promise.all([joiner('joined-1'), joiner('joined-2')]);
    for (const { stderr } of [first, second]) await until(() => stderr().includes('it asks the keeper of the list'));
    const admitted = await until(() => {
      const { stdout, stderr } = keeper('workers', 'admit', '--once', '--json', '--copy-to', path('copied.json'));
      return stdout !== '' && { ...(JSON.parse(stdout) as { worker: string; serial: number }), stderr };
    });
    await inForce(admitted.serial);
    expect(readFileSync(path('copied.json'))).toEqual(readFileSync(path('workers.json')));
    // The other comes once both have asked; it was one too many.
    const refused = await until(() => {
      const { stderr } = keeper('workers', 'admit', '--once');
      return stderr.includes('not let in') && stderr;
    });
    expect(`${admitted.stderr}${refused}`).toContain('has brought in 1 workers, and may bring in no more');
    expect(keeper('workers', 'invitations').stdout).toContain('cloud  1 of 1 used');
    // The others rest: the one that was let in does the job.
    for (const worker of pipeline.running().filter(({ name }) => name === 'worker-1' || name === 'worker-2'))
      worker.process.kill('SIGSTOP');
    const job = await client.ended((await client.submit(completion('for whoever was let in'))).id);
    expect(job.state).toBe('done');
    expect(job.attempts.at(-1)?.worker).toBe(admitted.worker);
    expect(keeper('workers', 'withdraw', invited.stdout.slice(4, 20)).status).toBe(0);
  });
});

describe('what a standing means at a time', () => {
  const entry = workerEntry(newKey().public, 'tester', '2026-01-01T00:00:00.000Z');
  const at = (day: string) => Date.parse(`2026-${day}T00:00:00.000Z`);
  test.each([
    ['active', {}, undefined, undefined],
    [
      'revoked from March',
      { standing: { state: 'revoked', from: '2026-03-01T00:00:00.000Z', compromisedSince: null, why: '' } },
      undefined,
      'WORKER_REVOKED',
    ],
    [
      'revoked in March, stolen in January',
      {
        standing: {
          state: 'revoked',
          from: '2026-03-01T00:00:00.000Z',
          compromisedSince: '2026-01-20T00:00:00.000Z',
          why: '',
        },
      },
      'WORKER_REVOKED',
      'WORKER_REVOKED',
    ],
    [
      'suspended from March',
      { standing: { state: 'suspended', from: '2026-03-01T00:00:00.000Z', why: '' } },
      undefined,
      'WORKER_SUSPENDED',
    ],
    ['a key that ended in March', { notAfter: '2026-03-01T00:00:00.000Z' }, undefined, 'WORKER_KEY_EXPIRED'],
    [
      'a key that begins in May',
      { enrolledAt: '2026-05-01T00:00:00.000Z' },
      'WORKER_KEY_EXPIRED',
      'WORKER_KEY_EXPIRED',
    ],
  ] as const)('%s', (_, change, february, april) => {
    expect(refusalAt({ ...entry, ...change }, at('02-01'))).toBe(february);
    expect(refusalAt({ ...entry, ...change }, at('04-01'))).toBe(april);
  });

  test('a list with a worker twice, an id that is not of its key, or a changed byte is refused', () => {
    const signer = newKey();
    const list: WorkerList = { version: 3, serial: 1, issuedAt: PAST, expires: PAST, workers: [entry] };
    const open = (text: string) => openWorkerList(text, [signer.public]);
    expect(open(signWorkerList(list, signer)).list).toEqual(list);
    expect(() => open(signWorkerList({ ...list, workers: [entry, entry] }, signer))).toThrow('twice');
    expect(() =>
      open(signWorkerList({ ...list, workers: [{ ...entry, publicKey: newKey().public.raw }] }, signer)),
    ).toThrow('not the id');
    const text = signWorkerList(list, signer);
    for (let position = 40; position < text.length - 2; position += 7) {
      const changed = `${text.slice(0, position)}${text[position] === 'A' ? 'B' : 'A'}${text.slice(position + 1)}`;
      expect(() => open(changed)).toThrow();
    }
  });
});

describe('countersign workers', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-workers-'));
  const data = new DataFolder(join(folder, 'data'));
  const cli = (...args: string[]) =>
    spawnSync(process.execPath, [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), ...args], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], HOME: folder, COUNTERSIGN_DATA: data.path },
    });
  const key = (name: string) => {
    const file = join(folder, `${name}.key`);
    ensureSigningKey(file);
    return file;
  };
  const request = (name: string, text: string) => {
    writeFileSync(join(folder, `${name}.json`), text);
    return join(folder, `${name}.json`);
  };
  beforeAll(() => {
    prepare(data, 1);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  // As the command shows it, which the last step asks.
  const list = () =>
    openWorkerList(readFileSync(data.enrolled(), 'utf8'), [readSigningKey(data.registryKey()).public]).list;

  longTest(
    'enrols by challenge, once; rotates with the signature of the key before; suspends, resumes, revokes',
    () => {
      const challenge = cli('workers', 'challenge').stdout.trim();
      const asked = (options: string[]) =>
        cli('workers', 'request', '--operator', 'north', '--label', 'rack=7', '--gpu', 'H100', ...options);
      const first = join(folder, 'first.key');
      expect(cli('keys', 'new', first).status).toBe(0);
      const made = request('first', asked(['--key', first, '--challenge', challenge]).stdout);
      const enrolled = JSON.parse(cli('workers', 'enrol', made, '--json').stdout) as {
        serial: number;
        worker: { id: string };
      };
      expect(enrolled).toMatchObject({ serial: 2, worker: { operator: 'north', labels: { rack: '7' }, gpu: 'H100' } });
      // The same worker again, the same challenge by another one, and a challenge that nobody gave out.
      expect(cli('workers', 'enrol', made)).toMatchObject({ status: 7, stderr: says('already on the list') });
      const again = request('again', asked(['--key', key('other'), '--challenge', challenge]).stdout);
      expect(cli('workers', 'enrol', again)).toMatchObject({ status: 7, stderr: says('used before') });
      const invented = request('invented', asked(['--key', key('second'), '--challenge', '0'.repeat(64)]).stdout);
      expect(cli('workers', 'enrol', invented).status).toBe(7);

      const rotation = cli('workers', 'challenge').stdout.trim();
      const next = key('next');
      const stolen = JSON.parse(
        asked(['--key', next, '--challenge', rotation, '--predecessor', first]).stdout,
      ) as Record<string, unknown>;
      const alone = request('alone', JSON.stringify({ ...stolen, predecessorSignature: stolen['signature'] }));
      expect(cli('workers', 'enrol', alone).stderr).toContain('not signed by the key before');
      const rotated = request('rotated', JSON.stringify(stolen));
      expect(cli('workers', 'enrol', rotated).status).toBe(0);
      const [, before, after] = list().workers;
      expect(before?.notAfter).not.toBeNull();
      expect(after?.predecessor).toBe(before?.id);

      const id = after?.id ?? '';
      const standing = () => list().workers.find((worker) => worker.id === id)?.standing.state;
      expect([cli('workers', 'suspend', id, '--why', 'noise').status, standing()]).toEqual([0, 'suspended']);
      expect([cli('workers', 'resume', id).status, standing()]).toEqual([0, 'active']);
      expect([cli('workers', 'revoke', id, '--compromised-since', '2026-01-01').status, standing()]).toEqual([
        0,
        'revoked',
      ]);
      expect(cli('workers', 'resume', id)).toMatchObject({
        status: 2,
        stderr: says('for good'),
      });
      expect(cli('workers', 'suspend', 'w-nobody').status).toBe(3);
      const { serial } = list();
      expect(cli('workers', 'renew').stdout).toContain(`list ${serial + 1}`);
      expect(JSON.parse(cli('workers', 'list', '--json').stdout)).toEqual(list());
    },
  );

  test('a request with another byte, and hardware that a policy does not accept, are refused', () => {
    const challenge = cli('workers', 'challenge').stdout.trim();
    const text = cli(
      'workers',
      'request',
      '--operator',
      'south',
      '--key',
      key('third'),
      '--challenge',
      challenge,
    ).stdout;
    const changed = request('changed', text.replace('south', 'soufh'));
    expect(cli('workers', 'enrol', changed).stderr).toContain('not signed by the key that it names');
    const policy = request('policy', JSON.stringify({ version: 1 }));
    const plain = request('plain', text);
    expect(cli('workers', 'enrol', plain, '--tee-policy', policy).stderr).toContain('the request has none');
  });

  describeVectors('keys of small order', () => {
    // What the command calls refuses every one of them: see attack 10. Here two go all the way.
    test('none of them is enrolled', () => {
      const { keys } = JSON.parse(readFileSync(join(VECTORS, 'ed25519/small-order-public-keys.json'), 'utf8')) as {
        keys?: unknown;
      };
      const all =
        JSON.stringify(
          keys ?? JSON.parse(readFileSync(join(VECTORS, 'ed25519/small-order-public-keys.json'), 'utf8')),
        ).match(/[0-9a-f]{64}/g) ?? [];
      expect(all.length).toBeGreaterThanOrEqual(8);
      for (const hex of all.slice(0, 2)) {
        const publicKey = Buffer.from(hex, 'hex').toString('base64');
        const facts = {
          challenge: '0'.repeat(64),
          role: 'worker',
          worker: 'w-0',
          publicKey,
          operator: 'evil',
          labels: {},
          gpu: null,
          predecessor: null,
          evidence: null,
        };
        const signature = Buffer.concat([Buffer.from(hex, 'hex'), Buffer.alloc(32)]).toString('base64');
        const made = request(
          'small',
          JSON.stringify({ facts: JSON.stringify(facts), signature, predecessorSignature: null }),
        );
        expect(cli('workers', 'enrol', made)).toMatchObject({
          status: 7,
          stderr: says('prime order'),
        });
      }
    });
  });
});
