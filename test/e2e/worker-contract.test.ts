import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Announcement } from '../../src/core/catalog/announcement.ts';
import { Committed, EnrolmentState, ROUTES, type Lease } from '../../src/core/remote/wire.ts';
import { encodeStored, signPayload } from '../../src/proof/receipts/dsse.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { statementBytes } from '../../src/proof/receipts/statements.ts';
import { poolFolder } from '../../src/ground/blobs/blob-folders.ts';
import { generateSigningKeyPem, signingKeyFromPem } from '../../src/ground/keys/signing-key.ts';
import { GatewayHand } from '../support/gateway-hand.ts';
import { ModelServer } from '../support/model-server.ts';
import { NOOP_MODEL, Pipeline, SHORT_LEASE, completion, until, type Client, type Role } from '../support/pipeline.ts';
import { childrenOf } from '../support/processes.ts';
import { playNvidiaSmi } from '../support/nvidia-smi.ts';
import { fixedPort } from '../support/ports.ts';
import type { Pool } from '../support/redis.ts';
import { longTest, sampleOf, wholeTest } from '../support/thorough.ts';

/**
 * What a worker promises, whichever way it reaches its pool. The pool `default` is served by workers with a
 * login of Redis, the pool `gold` through a gateway; api, attestor, models and cases are the same.
 */
let models: ModelServer;
let pipeline: Pipeline;
let client: Client;
let gateway: Role;
let port: number;

beforeAll(async () => {
  [models, port] = await Promise.all([ModelServer.start(), fixedPort()]);
  pipeline = await Pipeline.prepare(
    (['default', 'gold'] as const).flatMap((pool) => [
      { ...NOOP_MODEL, name: `noop-${pool}`, pool, gpuMemoryMiB: 20_000 },
      { ...NOOP_MODEL, name: `huge-${pool}`, pool, gpuMemoryMiB: 21_000 },
      models.model(`toy-${pool}`, pool),
    ]),
  );
  playNvidiaSmi(join(pipeline.folder, 'bin'));
  [gateway] = await Promise.all([startGateway(), pipeline.api(), pipeline.attestor()]);
  client = await pipeline.client();
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  await models[Symbol.asyncDispose]();
});

const startGateway = (env: Record<string, string> = {}) =>
  pipeline.gateway({ COUNTERSIGN_PORT: String(port), COUNTERSIGN_LEASE_MS: '6000', ...env }, 'gold');
const gatewayUrl = () => String(gateway.facts['url']);
/** On a machine with a GPU, whose `nvidia-smi` is played, and another that it may not use. */
const start = (pool: Pool, number: number, more: Record<string, string> = {}) => {
  const path = `${join(pipeline.folder, 'bin')}:${process.env['PATH'] ?? ''}`;
  const env = { PATH: path, CUDA_VISIBLE_DEVICES: '0', COUNTERSIGN_METRICS_PORT: '0', ...more };
  return pool === 'gold'
    ? pipeline.remoteWorker(number, gatewayUrl(), env, pool)
    : pipeline.worker(number, { ...SHORT_LEASE, ...env }, pool);
};
const noop = (pool: Pool, prompt: string, more: object = {}) => completion(prompt, { model: `noop-${pool}`, ...more });
/** What the server of the test answers, which nobody can compute again. */
const toy = (pool: Pool, prompt: string, more: object = {}) =>
  completion(prompt, {
    model: `toy-${pool}`,
    attempts: 3,
    attestation: { recompute: 0 },
    params: { max_tokens: 100_000 },
    ...more,
  });
async function kill(role: Role, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string> {
  role.process.kill(signal);
  return role.exited;
}
const textOf = async (id: string) => (JSON.parse((await client.output(id)).toString()) as { text: string }).text;

/** What a client that follows the job was shown of it. */
async function shown(id: string): Promise<string> {
  const text = await (await client.fetch(`/v1/jobs/${id}/events`)).text();
  return [...text.matchAll(/^event: chunk\ndata: (.*)$/gm)]
    .map(([, data = '{}']) => (JSON.parse(data) as { text?: string }).text ?? '')
    .join('');
}

describe.each([['default'], ['gold']] as const)('a worker of the pool %s', (pool) => {
  let worker: Role;
  beforeAll(async () => {
    worker = await start(pool, 1);
  });
  afterAll(() => kill(worker));

  test('its answers are confirmed by recomputation, and their receipts verify', async () => {
    const jobs = await Promise.all(Array.from({ length: 40 }, (_, at) => client.run(noop(pool, `job ${at}`))));
    expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(['done']));
    const id = jobs[0]?.id ?? '';
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
  });

  wholeTest('it tells of the GPUs that it may use, and serves no model that has no room there', async () => {
    const operator = await pipeline.client('operator');
    const all = async () => (await operator.json<{ workers: Announcement[] }>('/v1/workers')).workers;
    const heard = async () => (await all()).find((one) => one.pool === pool && one.gpus !== undefined);
    const { gpus, models: served, away } = await until(heard);
    expect(gpus).toMatchObject([{ place: '0', name: 'NVIDIA RTX 4000 SFF Ada Generation', busyPercent: 41 }]);
    expect(served.map(({ name }) => name).toSorted()).toEqual([`noop-${pool}`, `toy-${pool}`]);
    expect(away).toMatchObject([{ name: `huge-${pool}`, why: expect.stringContaining('room for 20475 MiB') }]);
    const metrics = await (await fetch(`${String(worker.facts['metrics'])}/metrics`)).text();
    expect(metrics).toContain('countersign_gpu_temperature_celsius{gpu="0"} 38');
  });

  test('what it streams is what it signs, and large inputs and outputs go by way of blobs', async () => {
    const { id } = await client.submit(toy(pool, `words 3000 ${'long '.repeat(20_000)}`));
    const [text, job] = [await shown(id), await client.ended(id)];
    expect(job.state).toBe('done');
    const output = await textOf(id);
    expect([output.length > 20_000, output.endsWith(' word2999 end')]).toEqual([true, true]);
    expect(output.startsWith(text)).toBe(true);
    expect(text.length).toBeGreaterThan(0);
  });

  test('a job that is cancelled while it runs is stopped at the engine', async () => {
    const before = models.brokenOff;
    const { id } = await client.submit(toy(pool, 'wait for me'));
    await until(() => models.waiting === 1);
    await client.post(`/v1/jobs/${id}/cancel`, {});
    expect((await client.ended(id)).state).toBe('cancelled');
    await until(() => models.brokenOff > before);
  });

  wholeTest(
    'a worker that is told to leave takes no job any more, ends those that it runs, and loses none',
    async () => {
      // Each may be attempted once: what is handed back unbegun costs nothing, though it is shown.
      const once = (prompt: string) => client.submit(toy(pool, prompt, { attempts: 1 }));
      const running = await Promise.all(Array.from({ length: 4 }, () => once('wait')));
      await until(() => models.waiting === 4);
      const left = kill(worker, 'SIGTERM');
      const after = await once('words 3');
      await until(() => worker.stderr().includes('"stopping"'));
      models.letGo();
      expect(await left).toBe(0);
      worker = await start(pool, 1);
      const ended = await Promise.all([...running, after].map(({ id }) => client.ended(id)));
      expect(ended.map(({ state }) => state)).toEqual(ended.map(() => 'done'));
    },
  );

  wholeTest.each(sampleOf(['worker.after-claim', 'worker.after-run', 'worker.after-commit'], 3))(
    'killed at %s, it loses no job and doubles none',
    async (point) => {
      await kill(worker, 'SIGTERM');
      const jobs = await Promise.all(Array.from({ length: 6 }, (_, at) => client.submit(noop(pool, `${point} ${at}`))));
      expect(await (await start(pool, 1, { COUNTERSIGN_CRASH_AT: `${point}:2` })).exited).toBe('SIGKILL');
      worker = await start(pool, 2);
      const ended = await Promise.all(jobs.map(({ id }) => client.ended(id)));
      expect(ended.map(({ state }) => state)).toEqual(jobs.map(() => 'done'));
    },
  );
});

longTest('one command runs a worker for each GPU and slice, starts again what dies, and ends them all', async () => {
  const operator = await pipeline.client('operator');
  const path = (name: string) => join(pipeline.folder, name);
  copyFileSync(path('worker-3.key'), path('gpu-0.key'));
  copyFileSync(path('worker-4.key'), path('gpu-1-0.key'));
  const child = spawn(process.execPath, [join(pipeline.dist, 'roles', 'cli', 'main.js'), 'worker', '--per-gpu'], {
    env: {
      ...pipeline.environment('worker'),
      PATH: `${path('bin')}:${process.env['PATH'] ?? ''}`,
      CUDA_VISIBLE_DEVICES: 'GPU-3703,1',
      COUNTERSIGN_BLOBS: poolFolder(path('blobs'), 'default'),
      COUNTERSIGN_WORKER_KEY_FILE: path('gpu-{gpu}.key'),
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (piece: Buffer) => (said += piece.toString()));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const places = async () => {
    const { workers } = await operator.json<{ workers: Announcement[] }>('/v1/workers');
    return workers
      .flatMap(({ gpus = [] }) => gpus.map(({ place }) => place))
      .toSorted()
      .join(' ');
  };
  const workers = () => childrenOf(child.pid ?? 0, 'worker/main.js');
  await until(async () => (await places()) === '0 1:0');
  const [first = 0] = workers();
  process.kill(first, 'SIGKILL');
  await until(() => said.includes('ended (SIGKILL) and is started again'));
  await until(() => workers().length === 2 && !workers().includes(first));
  await until(async () => (await places()) === '0 1:0');
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  await until(async () => (await places()) === '');
});

/** The commands of the operator of the pool, and of those who ask to be enrolled there. */
function enrolment() {
  const [path, dist] = [(name: string) => join(pipeline.folder, name), pipeline.dist];
  const run = (args: readonly string[], env: Record<string, string>) =>
    spawnSync(process.execPath, [join(dist, 'roles', 'cli', 'main.js'), ...args], {
      env: { PATH: process.env['PATH'] ?? '', HOME: pipeline.folder, ...env, COUNTERSIGN_DATA: path('keeper') },
      encoding: 'utf8',
    });
  const operator = (...args: string[]) =>
    run(['workers', ...args], {
      ...pipeline.environment('attestor'),
      COUNTERSIGN_REGISTRY_KEY_FILE: path('registry.key'),
    });
  const ask = (name: string, ...more: string[]) =>
    run(
      [
        'worker',
        'enrol',
        '--gateway',
        gatewayUrl(),
        '--operator',
        'guest',
        '--key',
        path(`${name}.key`),
        '--no-wait',
        '--json',
        ...more,
      ],
      {},
    );
  return { path, operator, ask };
}

describe('a gateway', () => {
  const hand = (number: number) => new GatewayHand(gatewayUrl(), keyOf(number));

  /** No lease runs out here, however long a machine takes to start a gateway. */
  const LONG = { COUNTERSIGN_LEASE_MS: '600000' };
  beforeAll(async () => {
    await kill(gateway, 'SIGTERM');
    gateway = await startGateway(LONG);
  });

  wholeTest('one that is killed costs its workers a reconnect, and no attempt', async () => {
    const worker = await start('gold', 1);
    const { id } = await client.submit(toy('gold', 'wait'));
    await until(() => models.waiting === 1);
    // What the engine began is also known: else another worker may have it, which is no attempt either.
    await until(async () => (await client.job(id)).state === 'running');
    await kill(gateway);
    models.letGo();
    gateway = await startGateway(LONG);
    const job = await client.ended(id);
    expect([job.state, job.attempts.length]).toEqual(['done', 1]);
    expect((await client.run(noop('gold', 'afterwards'))).state).toBe('done');
    expect(await kill(worker, 'SIGTERM')).toBe(0);
  });

  wholeTest('a lease that nobody acknowledges goes back, and costs no attempt', async () => {
    const { id } = await client.submit(noop('gold', 'not acknowledged', { attempts: 1 }));
    const [lease] = await hand(3).lease('noop-gold');
    expect(lease?.job).toBe(id);
    const worker = await start('gold', 1);
    // It may be attempted once, and was.
    expect((await client.ended(id)).state).toBe('done');
    // What its first holder says now is too late.
    expect(await hand(3).renew(lease ?? NO_LEASE)).toBe('lost');
    await kill(worker, 'SIGTERM');
  });

  wholeTest(
    'a stranger asks to be enrolled, and works once the operator approves it; one that is refused ends with a code',
    async () => {
      const { path, operator, ask } = enrolment();
      const [good, bad] = ['good', 'bad'].map((name) => EnrolmentState.parse(JSON.parse(ask(name).stdout)));
      expect([good?.state, bad?.state]).toEqual(['pending', 'pending']);
      expect(operator('asks').stdout).toContain(`${good?.worker ?? ''}  gold  guest`);
      expect(operator('approve', good?.worker ?? '').stdout).toContain('enrolled in gold');
      expect(operator('refuse', bad?.worker ?? '', '--why', 'never heard of it').stdout).toContain('refused');
      expect(operator('asks').stdout).toBe('');
      const refused = ask('bad');
      expect([refused.status, refused.stderr.includes('never heard of it')]).toEqual([7, true]);
      await until(() => ask('good').stdout.includes('"state":"enrolled"'));
      const worker = await start('gold', 1, { COUNTERSIGN_WORKER_KEY_FILE: path('good.key') });
      const job = await client.run(noop('gold', 'by a guest'));
      expect([job.state, job.attempts[0]?.worker]).toEqual(['done', good?.worker]);
      expect(await kill(worker, 'SIGTERM')).toBe(0);
      // Whoever is on no list ends, and does not ask again and again.
      const env = { COUNTERSIGN_WORKER_KEY_FILE: path('bad.key') };
      await expect(start('gold', 1, env)).rejects.toThrow('ended with 4');
    },
  );

  longTest(
    'an invitation decides instead of a person: as often as it says, and the next one is refused for good',
    () => {
      const { path, operator, ask } = enrolment();
      const token = operator('invite', '--pool', 'gold', '--operator', 'invited').stdout;
      writeFileSync(path('join.token'), token, { mode: 0o600 });
      const invited = (name: string) => ask(name, '--join-token', path('join.token'), '--label', 'rack=7');
      expect(['first', 'second'].map((name) => invited(name).status)).toEqual([0, 0]);
      const admitted = operator('admit', '--once');
      expect(admitted.stdout).toContain('let in to gold by');
      expect(admitted.stderr).toContain('may bring in no more');
      const isRefused = ['first', 'second'].filter((name) => ask(name).status === 7);
      expect(isRefused).toHaveLength(1);
      expect(ask(isRefused[0] ?? '').stderr).toContain('may bring in no more');
      expect(operator('list', '--json').stdout).toContain('"rack":"7"');
    },
  );

  test('who asks again and again, and never waits, gets what waits', async () => {
    const own = hand(3);
    const { id } = await client.submit(noop('gold', 'polled'));
    const lease = await until(async () => (await own.lease('noop-gold', 1, 0))[0]);
    expect([lease.job, await own.begin(lease)]).toEqual([id, 'ok']);
    await client.post(`/v1/jobs/${id}/cancel`, {});
  });

  test('requests that are forged, stolen, changed or sent again are refused, each by its own code', async () => {
    const [own, other] = [hand(3), hand(4)];
    const stranger = new GatewayHand(gatewayUrl(), signingKeyFromPem(generateSigningKeyPem()));
    const opened = await own.open();
    expect([opened.status, (await opened.again()).code]).toEqual([201, 'challenge_unknown']);
    expect(await stranger.open()).toMatchObject({ status: 403, code: 'worker_not_enrolled' });
    expect(await own.open(other.key)).toMatchObject({ status: 401, code: 'signature_invalid' });
    // As it is, the gateway takes it: that its body names no lease is another matter.
    expect(await own.send({})).toMatchObject({ status: 400, code: 'request_invalid' });
    const refused = await Promise.all([
      own.send({ signer: other.key }),
      own.send({ sent: { body: '{"leases":[]}' } }),
      own.send({ sent: { target: ROUTES.pieces } }),
      own.send({ sent: { method: 'PUT' } }),
      own.send({ headers: { 'countersign-signature': 'AAAA' } }),
      other.send({ session: await own.session() }),
      stranger.send({ session: await own.session() }),
      own.send({ session: 'f'.repeat(32) }),
    ]);
    expect(refused.map(({ code }) => code)).toEqual([
      ...Array.from({ length: 5 }, () => 'signature_invalid'),
      ...Array.from({ length: 3 }, () => 'session_unknown'),
    ]);
    const session = await own.session();
    expect((await own.send({ number: 5_000_000, session })).code).toBe('request_invalid');
    expect(await own.send({ number: 5_000_000, session })).toMatchObject({ status: 409, code: 'request_replayed' });
    expect((await own.send({ number: 5_000_000 - 128, session })).code).toBe('request_replayed');
    const huge = await own.send({ body: JSON.stringify({ leases: 'x'.repeat(3 * 1_048_576) }) });
    expect(huge).toMatchObject({ status: 413, code: 'body_too_large' });
  });

  test('a worker reaches no lease but its own, and says nothing about it that another signed', async () => {
    const [holder, thief] = [hand(3), hand(4)];
    const { id } = await client.submit(noop('gold', 'mine', { attempts: 1 }));
    const [lease = NO_LEASE] = await holder.lease('noop-gold');
    expect(lease.job).toBe(id);
    expect(await holder.begin(lease)).toBe('ok');
    const direct = pipeline.hand(3, undefined, 'gold');
    const claim = { ...lease, id, input: lease.input ?? '', token: '', ticket: lease.ticket };
    const output = direct.honestOutput(claim);
    const evidence = direct.evidence(claim, output);
    const say = async (by: GatewayHand, change: object, signer = by.key, of: Lease = lease) =>
      by.ask({
        method: 'POST',
        target: ROUTES.lease(of.job),
        json: {
          kind: 'evidence',
          epoch: of.epoch,
          secret: of.secret,
          statement: encodeStored(signPayload(signer, statementBytes(evidence))),
          output,
          tokens: '',
          ...change,
        },
      });
    const blob = `${ROUTES.blob(id, 'a'.repeat(64))}?offset=0&total=3&epoch=${lease.epoch}&secret=${lease.secret}`;
    const foreign = { ...lease, job: `job_0000${id.slice(8)}` };
    expect({
      renewed: await thief.renew(lease),
      begun: await thief.begin(lease),
      signedByThief: await say(thief, {}),
      uploaded: await thief.ask({ method: 'PUT', target: blob, bytes: Buffer.from('abc') }),
      read: await thief.ask({ method: 'GET', target: blob.replace('offset=0&total=3&', '') }),
      oldEpoch: await holder.renew({ ...lease, epoch: lease.epoch + 1 }),
      otherSecret: await holder.renew({ ...lease, secret: '0'.repeat(16) }),
      signedByAnother: await say(holder, {}, thief.key),
      otherOutput: await say(holder, { output: '{"text":"other","finish_reason":"stop"}' }),
      otherBytes: await holder.ask({ method: 'PUT', target: blob, bytes: Buffer.from('abc') }),
      otherPool: await holder.renew(foreign),
    }).toEqual({
      renewed: 'lost',
      begun: 'fenced',
      signedByThief: 'statement_invalid',
      uploaded: 'lease_lost',
      read: 'lease_lost',
      oldEpoch: 'lost',
      otherSecret: 'lost',
      signedByAnother: 'statement_invalid',
      otherOutput: 'statement_invalid',
      otherBytes: 'upload_differs',
      otherPool: 'lost',
    });
    // None of it has hurt the holder: what it says counts, and once however often it says it.
    const replies = [await say(holder, {}), await say(holder, {})].map(
      (text) => Committed.parse(JSON.parse(text)).reply,
    );
    expect(replies).toEqual(['ok', 'ok']);
    expect((await client.ended(id)).state).toBe('done');
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
  });

  wholeTest('429: a worker that floods is told to wait, and others are served', async () => {
    await kill(gateway, 'SIGTERM');
    gateway = await startGateway({ COUNTERSIGN_WORKER_RATE: '1' });
    const [flood, other] = [hand(4), hand(3)];
    const session = await flood.session();
    const answers = await Promise.all(Array.from({ length: 200 }, () => flood.send({ session })));
    const slowed = answers.filter(({ status }) => status === 429);
    expect(slowed.length).toBeGreaterThan(0);
    expect(slowed[0]).toMatchObject({ code: 'rate_limited', retryAfter: '1' });
    expect(await other.renew(NO_LEASE)).toBe('lost');
  });

  longTest(
    'with a certificate of its own it speaks TLS, and a worker that does not trust it says so and ends',
    async () => {
      const { cert, key, made } = makeCertificate();
      if (!made) {
        console.warn('NOT TESTED: there is no openssl here that makes a certificate.');
        return;
      }
      await kill(gateway, 'SIGTERM');
      const tls = { COUNTERSIGN_TLS_CERT_FILE: cert, COUNTERSIGN_TLS_KEY_FILE: key };
      await expect(startGateway({ ...tls, COUNTERSIGN_TLS_CERT_FILE: key })).rejects.toThrow('config_invalid');
      gateway = await startGateway(tls);
      expect(gatewayUrl()).toBe(`https://127.0.0.1:${port}`);
      const session = connect(gatewayUrl(), { ca: readFileSync(cert) });
      const [headers] = (await once(session.request({ ':path': '/health/live' }), 'response')) as [object];
      expect([session.alpnProtocol, headers]).toMatchObject(['h2', { ':status': 200 }]);
      session.destroy();
      const [worker, stranger] = [
        await start('gold', 1, { NODE_EXTRA_CA_CERTS: cert }),
        start('gold', 2).catch((error: unknown) => String(error)),
      ];
      expect((await client.run(noop('gold', 'over TLS'))).state).toBe('done');
      expect(await kill(worker, 'SIGTERM')).toBe(0);
      expect(await stranger).toMatch(/gateway_away: .*self-signed certificate/);
    },
  );
});

/** A certificate for this machine that nobody has signed but itself. */
function makeCertificate(): { cert: string; key: string; made: boolean } {
  const [cert, key] = [join(pipeline.folder, 'gateway.pem'), join(pipeline.folder, 'gateway.pem.key')];
  const names = ['-subj', '/CN=gateway', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const { status } = spawnSync('openssl', ['req', ...kind, ...names, '-keyout', key, '-out', cert]);
  return { cert, key, made: status === 0 };
}

const NO_LEASE: Lease = {
  job: `job_${'0'.repeat(30)}`,
  model: 'none',
  epoch: 1,
  secret: '0'.repeat(16),
  ticket: '',
  input: null,
  remaining_ms: 0,
  acknowledge_within_ms: 0,
};

function keyOf(number: number) {
  const key = pipeline.workerKeys[number - 1];
  if (key === undefined) throw new Error(`There is no worker ${number}.`);
  return key;
}
