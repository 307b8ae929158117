import { Agent, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import { httpAdapter } from './http-server.ts';

const BODY_TIMEOUT_MS = 100;
const ANSWER_MS = 500;

describe('the time that a body may take', () => {
  let adapter: FastifyAdapter;
  let url: string;
  beforeAll(async () => {
    adapter = httpAdapter({ bodyTimeoutMs: BODY_TIMEOUT_MS, corsOrigins: [] });
    const instance = adapter.getInstance();
    const slowly = async () => {
      await sleep(ANSWER_MS);
      return 'answer';
    };
    instance.get('/slow', slowly);
    instance.post('/slow', slowly);
    await instance.listen({ port: 0, host: '127.0.0.1' });
    url = `http://127.0.0.1:${(instance.server.address() as AddressInfo).port}/slow`;
  });
  afterAll(() => adapter.close());

  test.each([
    ['a GET', {}],
    ['a POST without a body', { method: 'POST' }],
    ['a POST with a body', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }],
  ])('does not bound how long the answer takes: %s', async (_name, init) => {
    expect(await (await fetch(url, init)).text()).toBe('answer');
  });

  test('ends a request whose body does not come', async () => {
    const ended = new Promise<string>((resolve) => {
      const headers = { 'content-type': 'application/json', 'content-length': '100' };
      const slow = request(url, { method: 'POST', headers }, () => resolve('answered'));
      slow.on('error', () => resolve('ended'));
      slow.write('{');
    });
    expect(await ended).toBe('ended');
  });
});

describe('what is answered before any route', () => {
  let adapter: FastifyAdapter;
  let url: string;
  let port: number;
  beforeAll(async () => {
    adapter = httpAdapter({ corsOrigins: ['https://app.example'] });
    const instance = adapter.getInstance();
    instance.post('/v1/things', () => 'made');
    instance.get('/v1/things', () => 'all');
    instance.get('/v1/jobs/:id/receipt', () => 'receipt');
    await instance.listen({ port: 0, host: '127.0.0.1' });
    ({ port } = instance.server.address() as AddressInfo);
    url = `http://127.0.0.1:${port}`;
  });
  afterAll(() => adapter.close());

  test.each([['with its length'], ['in chunks']])(
    '413: a body of 12 MB sent %s is heard, and the connection lives',
    async (how) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const body = Buffer.alloc(12 * 1_048_576, 'x');
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const headers = {
          'content-type': 'application/json',
          ...(how === 'in chunks' ? {} : { 'content-length': String(body.length) }),
        };
        const sent = request(`${url}/v1/things`, { method: 'POST', headers, agent }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        sent.on('error', reject);
        sent.end(body);
      });
      expect(status).toBe(413);
      agent.destroy();
    },
  );

  test('415: a body of another type', async () => {
    const response = await fetch(`${url}/v1/things`, {
      method: 'POST',
      body: 'a=1',
      headers: { 'content-type': 'text/csv' },
    });
    expect(response.status).toBe(415);
  });

  test.each(['gzip', 'br', 'x'])('415: a body that is packed, in %s', async (encoding) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
    const response = await fetch(`${url}/v1/things`, { method: 'POST', body: '{}', headers });
    expect([response.status, response.headers.get('accept-encoding')]).toEqual([415, 'identity']);
    expect(await response.text()).toContain('Content-Encoding');
  });

  test.each(['', 'identity'])('a byte-order mark before the body says nothing (encoding "%s")', async (encoding) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': encoding };
    const response = await fetch(`${url}/v1/things`, { method: 'POST', body: '\uFEFF{}', headers });
    expect(response.status).toBe(200);
  });

  test('431: headers beyond the bound, said so that clients of OpenAI print it too', async () => {
    const response = await fetch(`${url}/v1/things`, { headers: { 'x-long': 'x'.repeat(20_000) } });
    expect(response.status).toBe(431);
    const message = expect.stringContaining('16384 bytes');
    expect(await response.json()).toMatchObject({ code: 'headers_too_large', detail: message, error: { message } });
  });

  test('an address with a slash at its end is the same', async () => {
    expect((await fetch(`${url}/v1/things/`)).status).toBe(200);
  });

  const preflight = (path: string, origin: string) =>
    fetch(`${url}${path}`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, content-type',
      },
    });

  test('pages of configured origins may call with a key of their own, and no others may', async () => {
    const allowed = await preflight('/v1/things', 'https://app.example');
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(allowed.headers.get('access-control-allow-headers')).toContain('authorization');
    expect(allowed.headers.get('access-control-allow-credentials')).toBeNull();
    const other = await preflight('/v1/things', 'https://evil.example');
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
    const answer = await fetch(`${url}/v1/things`, { headers: { origin: 'https://app.example' } });
    expect([answer.headers.get('access-control-allow-origin'), answer.headers.get('vary')]).toEqual([
      'https://app.example',
      'Origin',
    ]);
  });

  test.each(['/v1/jobs/job_1/receipt', '/log/checkpoint', '/.well-known/countersign.json'])(
    'what anybody verifies with is open to pages of every origin: %s',
    async (path) => {
      const asked = await preflight(path, 'https://any.example');
      expect([asked.status, asked.headers.get('access-control-allow-origin')]).toEqual([204, '*']);
      const answer = await fetch(`${url}${path}`, { headers: { origin: 'https://any.example' } });
      expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    },
  );
});
