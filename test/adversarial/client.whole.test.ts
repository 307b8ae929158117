import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ERROR_CATALOG } from '../../src/ground/errors/catalog.ts';
import { OPERATIONS } from '../../src/roles/api/operations.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, completion, until, type Client, type Role } from '../support/pipeline.ts';

let pipeline: Pipeline;
let client: Client;
let api: Role;
let others: Role[];
let dripping: Promise<string>;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL]);
  [api, ...others] = await Promise.all([
    pipeline.api({ COUNTERSIGN_MAX_STREAMS_PER_KEY: '2000' }),
    pipeline.worker(1),
    pipeline.attestor(),
  ]);
  client = await pipeline.client();
  // It takes the server its time to lose patience with this one, so it begins here and is heard of below.
  dripping = drip();
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const descriptors = () => readdirSync(`/proc/${api.process.pid ?? 0}/fd`).length;

/** Everything that the server says on a new connection until it closes it. */
function saidTo(begin: (socket: Socket) => void): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(pipeline.url).port), '127.0.0.1', () => begin(socket));
    let text = '';
    socket.on('data', (piece) => {
      text += piece.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
}

/** Sends headers drop by drop, without end. */
function drip(): Promise<string> {
  return saidTo((socket) => {
    socket.write('POST /v1/jobs HTTP/1.1\r\nhost: x\r\n');
    const drops = setInterval(() => socket.write('x-a: b\r\n'), 1_000);
    socket.on('close', () => clearInterval(drops));
  });
}

interface Problem {
  readonly code: keyof typeof ERROR_CATALOG;
  readonly detail: string;
}

/** A problem document, or OpenAI's error where its clients ask. */
function readProblem(response: Response, text: string): Problem {
  if (!/\/v1\/(chat|completions|embeddings|models|files|batches|responses)/.test(response.url)) {
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    return JSON.parse(text) as Problem;
  }
  const { error } = JSON.parse(text) as { error: { code: Problem['code']; message: string } };
  return { code: error.code, detail: error.message };
}

/** A problem document with a 4xx, a known code and a useful sentence; never a stack. */
async function expectProblem(response: Response, status?: number): Promise<string> {
  const text = await response.text();
  const problem = readProblem(response, text);
  expect(Object.keys(ERROR_CATALOG)).toContain(problem.code);
  expect(response.status).toBe(ERROR_CATALOG[problem.code].status);
  expect(response.status).toBeGreaterThanOrEqual(400);
  expect(response.status).toBeLessThan(500);
  if (status !== undefined) expect(response.status).toBe(status);
  expect(problem.detail.length).toBeGreaterThan(10);
  expect(text).not.toMatch(/at .*\.(js|ts):\d|node_modules|Error:/);
  return problem.code;
}

const raw = (body: string | Buffer, headers: Record<string, string> = {}) =>
  client.fetch('/v1/jobs', {
    method: 'POST',
    body: body as NonNullable<RequestInit['body']>,
    headers: { 'content-type': 'application/json', ...headers },
  });

const BAD_BODIES: Record<string, string | Buffer> = {
  'no JSON': 'hello',
  'half a JSON': '{"model":"noop"',
  'an empty body': '',
  null: 'null',
  'a list': '[]',
  'a number': '1e999',
  '100,000 nested lists': '['.repeat(100_000) + ']'.repeat(100_000),
  '100,000 nested objects': '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000),
  __proto__: '{"__proto__":{"admin":true},"model":"noop","task":"completion","input":{"prompt":"x"}}',
  'an escaped __proto__': '{"\\u005f_proto__":{},"model":"noop","task":"completion","input":{"prompt":"x"}}',
  constructor: '{"constructor":{"prototype":{"admin":true}},"model":"noop","task":"completion","input":{"prompt":"x"}}',
  'two members of one name': '{"model":"noop","model":"other","task":"completion","input":{"prompt":"x"}}',
  'invalid UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
  'an unknown field': JSON.stringify(completion('x', { tenantId: 'other' })),
  'a state of its own': JSON.stringify(completion('x', { state: 'done', epoch: 7 })),
  'an unknown parameter': JSON.stringify(completion('x', { params: { maxTokens: 1 } })),
  'a temperature of a million': JSON.stringify(completion('x', { params: { temperature: 1e6 } })),
  'a seed with a fraction': JSON.stringify(completion('x', { params: { seed: 0.5 } })),
  'a task as an object': JSON.stringify(completion('x', { task: {} })),
  'an unknown model': JSON.stringify(completion('x', { model: 'gpt\r\nSet-Cookie: a=b' })),
  'another task than the model does': JSON.stringify({ model: 'noop', task: 'embedding', input: { texts: ['x'] } }),
  'an empty prompt': JSON.stringify(completion('')),
  '600 texts': JSON.stringify({
    model: 'noop',
    task: 'embedding',
    input: { texts: Array.from({ length: 600 }, () => 'x') },
  }),
};

describe('a hostile client with a valid API key', () => {
  test.each(Object.keys(BAD_BODIES))('%s as a body is refused with a sentence and leaves no trace', async (name) => {
    await expectProblem(await raw(BAD_BODIES[name] ?? ''));
  });

  test('what was refused left nothing in Redis and nothing on disk', async () => {
    const keys = await pipeline.redis.client().keys('*job_*');
    expect(keys).toEqual([]);
    // The roles try now and then whether the folder takes a file, and remove what they wrote.
    const left = () => readdirSync(`${pipeline.folder}/blobs`, { recursive: true, withFileTypes: true });
    await until(() => !left().some((entry) => entry.isFile()));
  });

  test('413: 100 MB are refused without being read', async () => {
    const response = await client
      .fetch('/v1/jobs', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: Buffer.alloc(100_000_000, 'x') as NonNullable<RequestInit['body']>,
      })
      .catch(() => undefined);
    // The server may close the connection on a body it will not read; it must not buffer it.
    if (response) expect(await expectProblem(response)).toBe('body_too_large');
    expect((await fetch(`${pipeline.url}/health/live`)).status).toBe(200);
  });

  test('415 and 400: other media types, bad headers, and bad queries are told apart', async () => {
    expect(await expectProblem(await raw('<xml/>', { 'content-type': 'text/xml' }), 415)).toBe(
      'media_type_unsupported',
    );
    await expectProblem(await raw(JSON.stringify(completion('x')), { 'idempotency-key': 'x'.repeat(300) }), 400);
    await expectProblem(await raw(JSON.stringify(completion('x')), { 'idempotency-key': '"a"b"' }), 400);
    for (const query of [
      'state=finished',
      'limit=0',
      'limit=1e9',
      'limit=abc',
      'cursor=zzz',
      'created_after=yesterday',
      'unknown=1',
      'state=done&state=failed',
      '__proto__[x]=1',
      'model[$ne]=x',
    ]) {
      await expectProblem(await client.fetch(`/v1/jobs?${query}`), 400);
    }
  });

  test('404: addresses that are malformed, huge or unknown are not an error of ours', async () => {
    for (const path of [
      '/v1/jobs/%00',
      '/v1/jobs/..%2f..%2fetc%2fpasswd',
      `/v1/jobs/${'a'.repeat(5_000)}`,
      '/v1/jobs/%ff',
      '/v1/jobs/constructor',
      '/v1/jobs/a%0d%0aSet-Cookie:b',
      '/nothing',
      '/v1',
      '/v1/jobs/job_0000/../x',
      '/docs/../../etc/passwd',
    ]) {
      await expectProblem(await client.fetch(path));
    }
    await expectProblem(await client.fetch('/v1/jobs', { method: 'DELETE' }), 405);
  });

  test("another tenant's job answers on every route exactly like one that does not exist", async () => {
    const job = await client.run(completion('mine'));
    const stranger = await pipeline.client('stranger');
    const unknown = `${job.id.slice(0, -4)}0000`;
    const routes = OPERATIONS.filter(({ path }) => path.includes('{id}'));
    expect(routes.length).toBeGreaterThanOrEqual(5);
    for (const { method, path } of routes) {
      const [theirs, nobodys] = await Promise.all(
        [job.id, unknown].map((id) => stranger.fetch(path.replace('{id}', id), { method: method.toUpperCase() })),
      );
      expect([path, theirs?.status]).toEqual([path, 404]);
      expect(await theirs?.text()).toBe(await nobodys?.text());
    }
    const list = (await (await stranger.fetch('/v1/jobs')).json()) as { jobs: unknown[] };
    expect(list.jobs).toEqual([]);
    expect((await client.job(job.id)).state).toBe('done');
  });

  test('every route but the open ones wants a key with the right scope, and a revoked key stops working within seconds', async () => {
    const reader = await pipeline.key('acme', ['read']);
    for (const { method, path, scope } of OPERATIONS) {
      const url = `${pipeline.url}${path.replace('{id}', 'job_000000000000000000000000000000')}`;
      const send = (authorization?: string) =>
        fetch(url, { method: method.toUpperCase(), headers: authorization === undefined ? {} : { authorization } });
      if (scope === null) {
        expect([401, 403]).not.toContain((await send()).status);
        continue;
      }
      for (const bad of [
        undefined,
        'Bearer',
        'Bearer x',
        `Bearer csk_${'0'.repeat(16)}_${'A'.repeat(43)}`,
        `Basic ${reader}`,
        `Bearer ${reader}x`,
      ]) {
        await expectProblem(await send(bad), 401);
      }
      if (scope !== 'read') await expectProblem(await send(`Bearer ${reader}`), 403);
    }
    const { ApiKeys } = await import('../../src/surfaces/tenants/api-key.store.ts');
    await new ApiKeys(pipeline.redis.client('api'), pipeline.redis.keys).revoke('test', reader.split('_')[1] ?? '');
    await until(
      async () =>
        (await fetch(`${pipeline.url}/v1/models`, { headers: { authorization: `Bearer ${reader}` } })).status === 401,
    );
  });

  test('1,000 event streams that were abandoned leave no descriptor behind', async () => {
    const job = await client.submit(completion('never taken', { model: 'by-hand' }));
    await client.job(job.id);
    const before = descriptors();
    // Without the connections that fetch opens anew in place of those that it has aborted.
    const open = () =>
      new Promise<IncomingMessage>((resolve, reject) => {
        const headers = { authorization: `Bearer ${client.key}` };
        get(`${client.url}/v1/jobs/${job.id}/events`, { agent: false, headers }, resolve).on('error', reject);
      });
    const streams = await Promise.all(Array.from({ length: 1_000 }, open));
    expect(streams.every(({ statusCode }) => statusCode === 200)).toBe(true);
    expect(descriptors()).toBeGreaterThan(before + 900);
    for (const stream of streams) stream.on('error', () => undefined).destroy();
    await until(() => descriptors() <= before + 10);
    // The last of them is counted out a moment after its descriptor is closed.
    await until(async () =>
      (await (await fetch(`${pipeline.url}/metrics`)).text()).includes('countersign_event_streams 0'),
    );
  });

  test('a flood by one tenant leaves the others where they were: behind a few of its 1,500 jobs, and not behind all', async () => {
    const [flooder, victim] = [await pipeline.client('flood'), await pipeline.client('victim')];
    const { redis } = pipeline;
    const before = await redis.client().zcard(redis.keys.ended);
    // Nothing is done before all of it is there.
    await pipeline.freeze(...others);
    // Confirmed by recomputation, so that they meet a second time, in the attestor's own queue.
    const body = (prompt: string) => completion(prompt, { attestation: { recompute: 1 } });
    const lanes = Array.from({ length: 15 }, async (_, lane) => {
      for (let job = 0; job < 100; job += 1) await flooder.submit(body(`flood ${lane} ${job}`));
    });
    await Promise.all(lanes);
    const jobs = await Promise.all(Array.from({ length: 5 }, (_, index) => victim.submit(body(`victim ${index}`))));
    for (const { process } of others) process.kill('SIGCONT');
    const ended = await Promise.all(jobs.map(({ id }) => victim.ended(id)));
    expect(ended.map(({ state }) => state)).toEqual(jobs.map(() => 'done'));
    const places = await Promise.all(jobs.map(({ id }) => redis.admin.zrank(redis.keys.ended, id)));
    expect(Math.max(...places.map(Number)) - before).toBeLessThan(300);
  });

  test('a client that sends its headers drop by drop is sent away, and bytes that are no HTTP get a problem document', async () => {
    expect(await saidTo((socket) => socket.write('NOT HTTP AT ALL\r\n\r\n'))).toContain('application/problem+json');
    expect(await dripping).toMatch(/^HTTP\/1\.1 4\d\d/);
    expect(descriptors()).toBeLessThan(200);
  });
});
