import { request } from 'node:http';
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
    adapter = httpAdapter(BODY_TIMEOUT_MS);
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
