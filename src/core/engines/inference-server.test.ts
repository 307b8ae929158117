import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EngineError } from './engine.ts';
import { InferenceServer, serverSentData } from './inference-server.ts';
import { overloadIn } from './overload.ts';

const SECRET = 'the key sk-operator is out of money';

describe('what the refusals of a server mean for a job', () => {
  let server: Server;
  let answer: { status: number; body: string; headers: Record<string, string> };
  let client: InferenceServer;
  beforeAll(async () => {
    server = createServer((_, response) => {
      response.writeHead(answer.status, answer.headers).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    client = new InferenceServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, undefined);
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  async function refusal(status: number, body: unknown = { error: { message: SECRET } }, headers = {}) {
    answer = { status, body: typeof body === 'string' ? body : JSON.stringify(body), headers };
    const error = await client.send('/v1/chat/completions', {}, new AbortController().signal).catch((e: unknown) => e);
    if (!(error instanceof EngineError)) throw new Error('it was not refused');
    return error;
  }

  test.each([401, 402, 403, 404, 405, 408, 418, 500, 502, 504])(
    '%s is between the operator and the server: the next attempt, and nothing of its words',
    async (status) => {
      const { code, message, cause } = await refusal(status);
      expect([code, message.includes('sk-operator')]).toEqual(['engine_error', false]);
      expect(String(cause)).toContain('sk-operator');
    },
  );

  test.each([
    [429, { 'retry-after': '7' }, 7],
    [503, { 'retry-after': new Date(Date.now() + 3_600_500).toUTCString() }, 3_600],
    [503, {}, undefined],
  ])('%s with %j is a server that is busy, and how long it asks to wait', async (status, headers, seconds) => {
    const { code, message } = await refusal(status, undefined, headers);
    const overload = overloadIn(`engine_overloaded ${message}`);
    expect([code, overload?.status]).toEqual(['engine_overloaded', status]);
    if (seconds === undefined) expect(overload?.retryAfterS).toBeUndefined();
    else expect(Math.abs((overload?.retryAfterS ?? 0) - seconds)).toBeLessThan(120);
    expect(message).not.toContain('sk-operator');
  });

  test.each([
    [{ error: { message: "This model's maximum context length is 4096 tokens.", type: 'BadRequestError', code: 400 } }],
    [{ error: { message: 'too long', code: 'context_length_exceeded' } }],
    [{ error: { message: 'the request exceeds the available context size', type: 'exceed_context_size_error' } }],
    [{ error: 'The input is longer than the model allows.' }],
  ])('a prompt that is too long is told as that: %j', async (body) => {
    expect((await refusal(400, body)).code).toBe('context_exceeded');
  });

  test.each([
    { message: `API key not valid. ${SECRET}`, status: 'INVALID_ARGUMENT', code: 400 },
    { message: `Incorrect API key provided: ${SECRET}`, code: 'invalid_api_key' },
    { message: SECRET, code: 'billing_hard_limit_reached' },
  ])('a 400 about the key of the worker is no fault of the question: %j', async (error) => {
    const { code, message } = await refusal(400, { error });
    expect([code, message.includes('sk-operator')]).toEqual(['engine_error', false]);
  });

  test('another 400 is the question: the words of the server say what is wrong with it', async () => {
    const { code, message } = await refusal(400, { error: { message: 'top_k is not there' } });
    expect([code, message]).toEqual(['engine_refused', 'The inference server answered 400: top_k is not there']);
  });

  test.each(['', '/', '/v1', '/v1/', '//'])('an address that ends in "%s" is the same server', async (end) => {
    let asked: string | undefined;
    server.once('request', ({ url }) => (asked = url));
    answer = { status: 200, body: '{}', headers: {} };
    const { port } = server.address() as AddressInfo;
    const one = new InferenceServer(`http://127.0.0.1:${port}${end}`, undefined);
    await one.send('/v1/models', undefined, new AbortController().signal);
    expect(asked).toBe('/v1/models');
  });
});

describe('server-sent events of a server', () => {
  async function dataOf(text: string): Promise<string[]> {
    const found: string[] = [];
    for await (const data of serverSentData(new Response(text))) found.push(data);
    return found;
  }

  test('are read whatever stands around them', async () => {
    expect(await dataOf(': ping\n\ndata: 1\r\n\r\nevent: message\ndata:2\n\nid: 3\ndata: 3')).toEqual(['1', '2', '3']);
  });

  test('that are errors by their name end the answer, whatever follows, and show nothing of it', async () => {
    for (const name of ['event: error', 'event:error']) {
      const read = dataOf(`data: 1\n\n${name}\ndata: {"message":"${SECRET}"}\n\ndata: 2\n\n`);
      const error: unknown = await read.catch((thrown: unknown) => thrown);
      expect([error instanceof EngineError, String(error).includes('sk-operator')]).toEqual([true, false]);
    }
  });
});
