import type { Server } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { mutations } from '../../../test/support/sample-receipts.ts';
import { SignedService, outputFor, serviceKeyring, type SentAnswer } from '../../../test/support/signed-service.ts';
import { sampleOf } from '../../../test/support/thorough.ts';
import { Secret } from '../../ground/config/secret.ts';
import type { Check } from './confirmed-job.ts';
import { ProxyCounts } from './proxy-counts.ts';
import { serveProxy } from './proxy-server.ts';
import { Upstream } from './upstream.ts';
import { VerifyingProxy, type StreamMode } from './verifying-proxy.ts';

const CHAT = '/v1/chat/completions';
const chat = { model: 'm', messages: [{ role: 'user', content: 'x' }], temperature: 0.5, seed: 7 };
const calls = [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }];

let service: SignedService;
const open: { server: Server; upstream: Upstream }[] = [];

beforeAll(async () => {
  service = await SignedService.start();
});
beforeEach(() => {
  service.change = (answer) => answer;
  service.isRecomputed = true;
  service.createdMs = () => Date.now();
});
afterAll(async () => {
  for (const { server, upstream } of open) {
    server.closeAllConnections();
    server.close();
    upstream.close();
  }
  await service[Symbol.asyncDispose]();
});

interface Wishes {
  readonly required?: readonly Check[];
  readonly stream?: StreamMode;
  readonly key?: string;
  readonly timeoutMs?: number;
  readonly url?: string;
}

async function proxyOf({ required = ['binding'], stream = 'hold', key, timeoutMs = 60_000, url }: Wishes = {}) {
  const said: string[] = [];
  const counts = new ProxyCounts((line) => said.push(line));
  const upstream = new Upstream(url ?? `${service.url}/v1`);
  const secret = key === undefined ? undefined : new Secret(key);
  const proxy = new VerifyingProxy({ upstream, keyring: serviceKeyring(), required, stream, key: secret, counts });
  const served = await serveProxy(proxy, { host: '127.0.0.1', port: 0, timeoutMs, maxRequests: 64 });
  open.push({ server: served.server, upstream });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${served.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer csk_caller', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  return { url: served.url, post, counts, said };
}

const Refusal = z.looseObject({ error: z.looseObject({ code: z.string(), message: z.string(), type: z.string() }) });
/** Status, code and reason of an answer that is an error. */
async function refusalOf(response: Response): Promise<[number, string, string | null]> {
  const { error } = Refusal.parse(await response.json());
  return [response.status, error.code, response.headers.get('countersign-refusal')];
}

/** The data of all frames of a stream. */
const framesOf = (text: string) =>
  text
    .split('\n\n')
    .flatMap((frame) => /^data: (.*)$/m.exec(frame)?.[1] ?? [])
    .map((data) => (data === '[DONE]' ? data : (JSON.parse(data) as Record<string, unknown>)));

/** The text of a stream, and whether it ended well. */
function readStream(text: string): { text: string; isWhole: boolean; error: string | undefined } {
  const frames = framesOf(text).filter((frame) => typeof frame === 'object');
  const errors = frames.flatMap((frame) => ('error' in frame ? [Refusal.parse(frame).error.code] : []));
  const pieces = frames.map((frame) => {
    const [choice] = (frame['choices'] ?? []) as { text?: string; delta?: { content?: string } }[];
    return (
      choice?.text ?? choice?.delta?.content ?? (frame['type'] === 'response.output_text.delta' ? frame['delta'] : '')
    );
  });
  const isWhole = text.endsWith('data: [DONE]\n\n') || frames.at(-1)?.['type'] === 'response.completed';
  return { text: pieces.join(''), isWhole, error: errors[0] };
}

/** One request of each kind. */
const QUESTIONS: [name: string, path: string, body: object][] = [
  ['a chat', CHAT, chat],
  ['a chat of several choices', CHAT, { ...chat, n: 2, logprobs: false }],
  ['a completion of several prompts', '/v1/completions', { model: 'm', prompt: ['x', 'y'], seed: 1, max_tokens: 9 }],
  ['an embedding', '/v1/embeddings', { model: 'm', input: ['x', 'yy'] }],
  [
    'an embedding, shortened, as base64',
    '/v1/embeddings',
    { model: 'm', input: 'x', encoding_format: 'base64', dimensions: 2 },
  ],
  [
    'a response with reasoning',
    '/v1/responses',
    { model: 'm', input: 'x', reasoning: { effort: 'low', summary: 'auto' } },
  ],
  ['a response', '/v1/responses', { model: 'm', input: 'x', instructions: 'be short', metadata: { a: 'b' } }],
];
const STREAMED = QUESTIONS.filter(([, path]) => path !== '/v1/embeddings');

describe('an honest service', () => {
  test.each(QUESTIONS)('%s is passed on as the service answers it', async (_, path, body) => {
    let sent: SentAnswer | undefined;
    service.change = (answer) => {
      if (answer.path === path) sent = answer;
      return answer;
    };
    const { post, counts } = await proxyOf({ required: ['binding', 'recompute'] });
    const response = await post(path, body);
    expect(await response.json()).toEqual(JSON.parse(sent?.body ?? ''));
    expect(response.headers.get('countersign-job')).toBe(sent?.headers['countersign-job']);
    expect(response.headers.get('countersign-state')).toBe('done');
    expect(counts.line).toContain('1 passed, 0 refused');
    // The service is asked for what is required.
    const asked = JSON.parse(service.asked.findLast((one) => one.path === path)?.body ?? '{}') as object;
    expect(asked).toMatchObject(body);
  });

  test.each(STREAMED)('%s is streamed once all of it is confirmed', async (_, path, body) => {
    const { post } = await proxyOf();
    const whole = (await (await post(path, body)).json()) as { output_text?: string };
    const response = await post(path, { ...body, stream: true });
    const text = await response.text();
    expect(response.headers.get('countersign-state')).toBe('done');
    expect(text).not.toContain('provisional');
    const read = readStream(text);
    expect(read).toMatchObject({ isWhole: true, error: undefined });
    expect(JSON.stringify(whole)).toContain(
      JSON.stringify(read.text.split('answer 1')[0]?.split('and 1')[0]).slice(1, -1),
    );
    expect(service.asked.filter((one) => one.path === path).at(-1)?.body).not.toContain('"stream":true');
  });

  test.each(STREAMED)('%s is streamed at once, marked, and confirmed at its end', async (_, path, body) => {
    const { post } = await proxyOf({ stream: 'provisional' });
    const held = await (await (await proxyOf()).post(path, { ...body, stream: true })).text();
    const response = await post(path, { ...body, stream: true });
    expect(response.headers.get('countersign-state')).toBe('provisional');
    const text = await response.text();
    expect(readStream(text)).toEqual(readStream(held));
    const frames = framesOf(text).filter((frame) => typeof frame === 'object');
    const marked = frames.filter((frame) => JSON.stringify(frame).includes('"provisional":true'));
    const pieces = frames.filter((frame) =>
      /"content":"[^"]|"text":"[^"]|output_text\.delta/.test(JSON.stringify(frame)),
    );
    expect(marked.length).toBeGreaterThan(2);
    for (const piece of pieces.filter((frame) => !/completed|done/.test(JSON.stringify(frame['type'] ?? ''))))
      if (piece['type'] !== 'response.content_part.added') expect(marked).toContain(piece);
    expect(JSON.stringify(frames.findLast((frame) => 'countersign' in frame || 'response' in frame))).toContain(
      '"done"',
    );
  });

  test('calls of tools, logprobs, usage and fewer dimensions come through, whole and streamed', async () => {
    const output = {
      message: { role: 'assistant', content: null, reasoning_content: 'hm', tool_calls: calls },
      finish_reason: 'tool_calls',
      logprobs: { content: [{ token: 'a', logprob: -0.5 }] },
    };
    service.output = () => output;
    try {
      for (const stream of ['hold', 'provisional'] as const) {
        const { post } = await proxyOf({ stream });
        const asked = { ...chat, tools: [{ type: 'function', function: { name: 'f' } }], logprobs: true };
        const whole = (await (await post(CHAT, asked)).json()) as { choices: object[] };
        expect(whole.choices[0]).toMatchObject({ message: output.message, logprobs: output.logprobs });
        const streamed = await (
          await post(CHAT, { ...asked, stream: true, stream_options: { include_usage: true } })
        ).text();
        expect(streamed).toContain('"prompt_tokens":2');
        expect(streamed).toContain('"arguments":"{\\"a\\":1}"');
      }
    } finally {
      service.output = outputFor;
    }
  });

  test('a receipt and the models are passed on too, the receipt once it has verified', async () => {
    const { url, post } = await proxyOf();
    const id = (await post(CHAT, chat)).headers.get('countersign-job') ?? '';
    const receipt = () => fetch(`${url}/v1/jobs/${id}/receipt`);
    expect(await (await receipt()).text()).toBe(service.jobs.get(id)?.receipt);
    expect(await (await fetch(`${url}/v1/models`)).json()).toEqual({ object: 'list', data: [] });
    service.change = (answer) => ({ ...answer, body: answer.body.replace('countersign/v1', 'countersign/v2') });
    expect(await refusalOf(await receipt())).toEqual([502, 'unverified_answer', 'malformed']);
  });
});

describe('a service that lies', () => {
  test.each(QUESTIONS)('in any member of %s is refused', async (_, path, body) => {
    const { post, counts } = await proxyOf();
    await post(path, body);
    const job = [...service.jobs.values()].at(-1);
    if (job === undefined) throw new Error('There is a job.');
    let change = (value: unknown): unknown => value;
    service.change = (answer) =>
      answer.path === path ? { ...answer, body: JSON.stringify(change(JSON.parse(answer.body))) } : answer;
    const passed: string[] = [];
    let tried = 0;
    const honest = JSON.parse(await (await post(path, body)).text()) as object;
    for (const { path: place } of sampleOf([...mutations(honest)], 3)) {
      change = (value) => [...mutations(value)].find((one) => one.path === place)?.value;
      const response = await post(path, body);
      tried += 1;
      if (response.status !== 502) passed.push(place);
      await response.text();
    }
    expect(tried).toBeGreaterThan(5);
    expect(passed).toEqual([]);
    expect(counts.line).toMatch(/^2 passed, \d+ refused \(/);
  });

  test.each(STREAMED)(
    'in any member of any frame of %s changes nothing that is told as confirmed',
    async (_, path, body) => {
      const { post } = await proxyOf({ stream: 'provisional' });
      const ask = async () => readStream(await (await post(path, { ...body, stream: true })).text());
      const honest = await ask();
      expect(honest.isWhole).toBe(true);
      let text = '';
      service.change = (answer) => {
        if (answer.path === path) text = answer.body;
        return answer;
      };
      await ask();
      const count = framesOf(text).length;
      const told: string[] = [];
      for (let at = 0; at < count; at += 1) {
        const frame = framesOf(text)[at];
        for (const { path: place } of typeof frame === 'object' ? sampleOf([...mutations(frame)], 12, at) : []) {
          service.change = (answer) =>
            answer.path === path ? { ...answer, body: changed(answer.body, at, place) } : answer;
          const read = await ask();
          if (read.isWhole && read.text !== honest.text) told.push(`${at} ${place}`);
        }
        // A frame that is missing, and one that comes twice.
        for (const times of [0, 2]) {
          service.change = (answer) =>
            answer.path === path ? { ...answer, body: repeated(answer.body, at, times) } : answer;
          const read = await ask();
          if (read.isWhole && read.text !== honest.text) told.push(`${at} × ${times}`);
        }
      }
      expect(told).toEqual([]);
    },
  );

  test('with another receipt that holds: of another request, another model, another job, another choice', async () => {
    const { post } = await proxyOf();
    const ofOther: [body: object, reason: string][] = [
      [{ ...chat, messages: [{ role: 'user', content: 'y' }] }, 'wrong_input'],
      [{ ...chat, model: 'n' }, 'wrong_input'],
      [{ ...chat, temperature: 0.6 }, 'wrong_input'],
      [{ ...chat, seed: 8 }, 'wrong_input'],
      [{ ...chat, stop: 'z' }, 'wrong_input'],
      [{ ...chat, max_tokens: 3 }, 'wrong_input'],
      [chat, 'not_fresh'],
    ];
    for (const [body, reason] of ofOther) {
      const other = await post(CHAT, body);
      const [id, text] = [other.headers.get('countersign-job') ?? '', await other.text()];
      const job = service.jobs.get(id);
      // The answer of the other job, its number, and its documents.
      service.change = (answer) =>
        answer.path === CHAT ? { ...answer, headers: { 'countersign-job': id }, body: text } : answer;
      expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', reason]);
      // The other job's receipt and output under the number of this one.
      service.change = (answer) =>
        answer.path.endsWith('/receipt')
          ? { ...answer, body: job?.receipt ?? '' }
          : answer.path.endsWith('/output')
            ? { ...answer, body: job?.output ?? '' }
            : answer;
      expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', 'other_job']);
      service.change = (answer) => answer;
    }
    // One choice for all of them, though no seed tells them apart.
    const { seed: _, ...seedless } = chat;
    service.change = (answer) => {
      const [id = ''] = (answer.headers['countersign-job'] ?? '').split(', ');
      return answer.path === CHAT ? { ...answer, headers: { 'countersign-job': `${id}, ${id}` } } : answer;
    };
    expect(await refusalOf(await post(CHAT, { ...seedless, n: 2 }))).toEqual([502, 'unverified_answer', 'malformed']);
  });

  test('with an older receipt, one from the future, and one that has answered already', async () => {
    const { post } = await proxyOf();
    for (const agoMs of [90_000, 86_400_000, -90_000]) {
      service.createdMs = () => Date.now() - agoMs;
      expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', 'not_fresh']);
    }
    service.createdMs = () => Date.now() - 30_000;
    const first = await post(CHAT, chat);
    const replay = {
      headers: { 'countersign-job': first.headers.get('countersign-job') ?? '' },
      body: await first.text(),
    };
    service.change = (answer) => (answer.path === CHAT ? { ...answer, ...replay } : answer);
    for (const headers of [{}, { 'idempotency-key': 'k' }])
      expect(await refusalOf(await post(CHAT, chat, headers))).toEqual([502, 'unverified_answer', 'not_fresh']);
  });

  test('with fewer checks than are required, with other keys, and without any receipt', async () => {
    service.isRecomputed = false;
    const sampled = { ...chat, countersign: { attestation: { recompute: 0.5 } } };
    const strict = await proxyOf({ required: ['recompute'] });
    expect(await refusalOf(await strict.post(CHAT, sampled))).toEqual([502, 'unverified_answer', 'too_weak']);
    expect((await (await proxyOf()).post(CHAT, sampled)).status).toBe(200);
    service.isRecomputed = true;
    const { post, said } = await proxyOf();
    service.change = (answer) =>
      answer.path.endsWith('/receipt') ? { ...answer, status: 403, body: '{"error":{"message":"no"}}' } : answer;
    expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', 'no_receipt']);
    service.change = (answer) =>
      answer.path.endsWith('/receipt')
        ? { ...answer, body: answer.body.replace(/"sig":"..../, '"sig":"AAAA') }
        : answer;
    expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', 'bad_signature']);
    expect(said.join()).not.toContain('csk_caller');
  });

  test('about bytes: two members of one name, another output, what is no JSON, what is too much', async () => {
    const { post } = await proxyOf();
    const refusals: [change: (answer: SentAnswer) => SentAnswer, reason: string][] = [
      [(answer) => ({ ...answer, body: answer.body.replace('{', '{"model":"evil",') }), 'malformed'],
      [(answer) => ({ ...answer, body: `${answer.body}]` }), 'malformed'],
      [(answer) => ({ ...answer, body: '[]' }), 'wrong_answer'],
      [(answer) => ({ ...answer, body: '' }), 'malformed'],
      [(answer) => ({ ...answer, headers: {} }), 'malformed'],
      [(answer) => ({ ...answer, headers: { 'countersign-job': '../../admin' } }), 'malformed'],
      [(answer) => ({ ...answer, body: ' '.repeat(140_000_000) }), 'too_large'],
    ];
    for (const [change, reason] of refusals) {
      service.change = (answer) => (answer.path === CHAT ? change(answer) : answer);
      expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', reason]);
    }
    service.change = (answer) => (answer.path.endsWith('/output') ? { ...answer, body: ` ${answer.body}` } : answer);
    expect(await refusalOf(await post(CHAT, chat))).toEqual([502, 'unverified_answer', 'wrong_output']);
  });
});

describe('between caller and service', () => {
  test('the same request under an Idempotency-Key may get the job of yesterday, and always the same', async () => {
    const { post } = await proxyOf();
    const yesterday = Date.now() - 80_000_000;
    service.createdMs = () => yesterday;
    const headers = { 'idempotency-key': 'k1' };
    const first = await post(CHAT, chat, headers);
    expect(first.status).toBe(200);
    expect(service.asked.find((one) => one.path === CHAT && one.headers['idempotency-key'] === 'k1')).toBeDefined();
    const replay = {
      headers: { 'countersign-job': first.headers.get('countersign-job') ?? '' },
      body: await first.text(),
    };
    service.change = (answer) => (answer.path === CHAT ? { ...answer, ...replay } : answer);
    expect((await post(CHAT, chat, headers)).status).toBe(200);
    expect(await refusalOf(await post(CHAT, chat, { 'idempotency-key': 'k2' }))).toMatchObject([
      502,
      'unverified_answer',
      'not_fresh',
    ]);
  });

  test('the caller is known to the service by its own key, or by the one of the proxy', async () => {
    await (await proxyOf()).post(CHAT, chat);
    await (await proxyOf({ key: 'csk_proxy\n' })).post(CHAT, chat);
    const keys = service.asked.slice(-6).map(({ headers }) => headers.authorization);
    expect(keys).toEqual([...Array<string>(3).fill('Bearer csk_caller'), ...Array<string>(3).fill('Bearer csk_proxy')]);
  });

  test('what the service refuses is passed on with its status, its body and its Retry-After', async () => {
    const { post, counts } = await proxyOf();
    const body = '{"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limited"}}';
    service.change = (answer) => ({
      ...answer,
      status: 429,
      headers: { 'retry-after': '7', 'set-cookie': 'a=b' },
      body,
    });
    const response = await post(CHAT, chat);
    expect([response.status, response.headers.get('retry-after'), await response.text()]).toEqual([429, '7', body]);
    expect(response.headers.get('set-cookie')).toBeNull();
    for (const [status, text] of [
      [302, ''],
      [500, '<html>'],
    ] as const) {
      service.change = (answer) => ({ ...answer, status, headers: { location: '/v1/models' }, body: text });
      expect(await refusalOf(await post(CHAT, chat))).toEqual([status === 302 ? 502 : status, 'upstream_failed', null]);
    }
    expect(counts.line).toBe('0 passed, 0 refused, 3 failed, 0 hung up');
    const nowhere = await proxyOf({ url: 'http://127.0.0.1:9' });
    expect(await refusalOf(await nowhere.post(CHAT, chat))).toEqual([502, 'upstream_failed', null]);
  });

  test('a caller who hangs up, and a service that never answers, end the exchange', async () => {
    service.change = (answer) => (answer.path === CHAT ? 'hang' : answer);
    const [before, asked] = [service.hungUp, service.asked.length];
    const { url, counts } = await proxyOf();
    const gone = new AbortController();
    const headers = { 'content-type': 'application/json' };
    const answer = fetch(`${url}${CHAT}`, { method: 'POST', headers, body: JSON.stringify(chat), signal: gone.signal });
    while (service.asked.length === asked) await new Promise((resolve) => setTimeout(resolve, 5));
    gone.abort();
    await expect(answer).rejects.toThrow();
    while (service.hungUp === before) await new Promise((resolve) => setTimeout(resolve, 5));
    while (!counts.line.endsWith('1 hung up')) await new Promise((resolve) => setTimeout(resolve, 5));
    const hasty = await proxyOf({ timeoutMs: 300 });
    expect(await refusalOf(await hasty.post(CHAT, chat))).toEqual([504, 'upstream_late', null]);
  });

  test('what the proxy cannot judge is refused before the service is asked', async () => {
    const { url, post } = await proxyOf();
    const before = service.asked.length;
    const refused: [path: string, body: unknown, headers: Record<string, string>, status: number, code: string][] = [
      [CHAT, { ...chat, frequency_penalty: 1 }, {}, 400, 'request_invalid'],
      [CHAT, { ...chat, countersign: { attestation: 'x' } }, {}, 400, 'request_invalid'],
      [CHAT, [], {}, 400, 'request_invalid'],
      [CHAT, '{"model":"m","model":"n"}', {}, 400, 'body_not_json'],
      [CHAT, chat, { 'content-type': 'text/plain' }, 415, 'media_type_unsupported'],
      [CHAT, chat, { 'countersign-answer': 'provisional' }, 400, 'request_invalid'],
      ['/v1/responses', { model: 'm', input: 'x', background: true }, {}, 400, 'request_invalid'],
      ['/v1/responses', { model: 'm', input: [{ type: 'item_reference', id: 'msg_1' }] }, {}, 400, 'request_invalid'],
      [CHAT, { ...chat, user: 'x'.repeat(5_000_000) }, {}, 413, 'body_too_large'],
      ['/v1/files', {}, {}, 404, 'route_not_found'],
      ['/v1/models', {}, {}, 405, 'method_not_allowed'],
    ];
    for (const [path, body, headers, status, code] of refused)
      expect(await refusalOf(await post(path, body, headers))).toEqual([status, code, null]);
    expect(await refusalOf(await fetch(`${url}${CHAT}`))).toEqual([405, 'method_not_allowed', null]);
    expect(service.asked.length).toBe(before);
  });
});

/** The stream with one member of one of its frames changed. */
function changed(text: string, at: number, place: string): string {
  return framed(text, at, (frame) => {
    const data = JSON.parse(frame.replace(/^(?:event: .*\n)?data: /, '')) as unknown;
    const mutated = [...mutations(data)].find((one) => one.path === place)?.value;
    return [`data: ${JSON.stringify(mutated)}`];
  });
}

const repeated = (text: string, at: number, times: number) =>
  framed(text, at, (frame) => Array<string>(times).fill(frame));

function framed(text: string, at: number, change: (frame: string) => string[]): string {
  const frames = text.split('\n\n').filter((frame) => frame !== '');
  return frames
    .flatMap((frame, index) => [...(index === at ? change(frame) : [frame]), ''])
    .join('\n\n')
    .replaceAll('\n\n\n\n', '\n\n');
}
