/* eslint-disable @typescript-eslint/no-deprecated -- clients send what is deprecated for years */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { compareRequest, compareResponse } from '../../src/surfaces/openai/exchange.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, KJV_MODEL, Pipeline, embedModel, until, type Client } from '../support/pipeline.ts';
import { wholeTest } from '../support/thorough.ts';

/** What we add to every answer. */
interface Countersigned {
  countersign: { job_id: string; state: string; receipt: string | null; provisional?: boolean; choices?: object[] };
}

const MODEL = 'kjv-1m';
const ask = { model: MODEL, messages: [{ role: 'user' as const, content: 'Who was Moses?' }], max_tokens: 12 };

let pipeline: Pipeline;
let native: Client;
let openai: OpenAI;

beforeAll(async () => {
  // A pool of its own, where nobody works, lets tests play the worker.
  pipeline = await Pipeline.start({
    models: [KJV_MODEL, embedModel(), BY_HAND_MODEL],
    workers: 1,
    env: { 'worker:COUNTERSIGN_POOL': 'default' },
  });
  native = await pipeline.client();
  openai = openaiOf(pipeline, native.key);
});
afterAll(() => pipeline[Symbol.asyncDispose]());

async function failureOf(promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}

describe('the official client, with nothing changed but address and key', () => {
  test('a chat is answered when it is confirmed, and names a receipt that verifies with the answer', async () => {
    const { data, response } = await openai.chat.completions
      .create({ ...ask, seed: 7, temperature: 0.8, user: 'u1', metadata: { a: 'b' } })
      .withResponse();
    const { countersign } = data as typeof data & Countersigned;
    expect(countersign.state).toBe('done');
    // The answer and the job say the same of how it was confirmed.
    const job = await native.job(countersign.job_id);
    const said = { confirmed_by: job.confirmed_by, not_checked: job.not_checked };
    expect(said.confirmed_by).toContain('binding');
    expect(said.not_checked).toContain('tee');
    expect(countersign).toMatchObject(said);
    expect(response.headers.get('countersign-state')).toBe('done');
    expect(response.headers.get('countersign-job')).toBe(countersign.job_id);
    const output = await native.output(countersign.job_id);
    const verified = verifyReceipt(await native.receipt(countersign.job_id), pipeline.keyring, { output });
    const { ticket, evidence } = verified;
    // What this client sent and got is what the receipt commits to, and nothing else is.
    const sent = { ...ask, seed: 7, temperature: 0.8, user: 'u1', metadata: { a: 'b' } };
    expect(compareRequest(sent, verified)).toContain('asks what the ticket asks');
    expect(() => compareRequest({ ...sent, seed: 8 }, verified)).toThrow('seed is 8 as given, and 7 in the ticket');
    const got: unknown = JSON.parse(JSON.stringify(data));
    expect(compareResponse(got, verified)).toContain('is the one that was confirmed');
    expect(ticket.params).toMatchObject({ seed: 7, temperature: 0.8, max_tokens: 12 });
    const text = (JSON.parse(output.toString()) as { message: { content: string } }).message.content;
    expect(data.choices[0]?.message.content).toBe(text);
    expect(data.usage).toEqual({
      prompt_tokens: evidence.usage.inputTokens,
      completion_tokens: evidence.usage.outputTokens,
      total_tokens: evidence.usage.inputTokens + evidence.usage.outputTokens,
    });
    expect(data.object).toBe('chat.completion');
  });

  test('a stream gives pieces first, and its last frame comes after the verdict, with usage after it', async () => {
    const stream = await openai.chat.completions.create({
      ...ask,
      max_tokens: 220,
      temperature: 0.9,
      seed: 3,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    const marks: Countersigned['countersign'][] = [];
    let pieces = 0;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      const { countersign } = chunk as typeof chunk & Partial<Countersigned>;
      if (countersign) marks.push(countersign);
      const [choice] = chunk.choices;
      if (choice?.delta.content) pieces += 1;
      text += choice?.delta.content ?? '';
      if (choice?.finish_reason) {
        // The verdict is there already when the reader sees this frame.
        expect((await native.job(countersign?.job_id ?? '')).state).toBe('done');
      }
      usage = chunk.usage ?? usage;
    }
    expect(pieces).toBeGreaterThan(1);
    expect(marks.map(({ state, provisional }) => [state, provisional])).toEqual([
      ['queued', true],
      ['done', undefined],
    ]);
    const id = marks[0]?.job_id ?? '';
    const output = JSON.parse((await native.output(id)).toString()) as { message: { content: string } };
    expect(text).toBe(output.message.content);
    expect(usage?.completion_tokens).toBeGreaterThan(10);
  });

  test('several choices are several jobs, each with a receipt, and the prompt is counted once', async () => {
    const answer = (await openai.chat.completions.create({ ...ask, n: 3, seed: 1 })) as OpenAI.ChatCompletion &
      Countersigned;
    expect(answer.choices).toHaveLength(3);
    expect(new Set(answer.choices.map((choice) => choice.message.content)).size).toBeGreaterThan(1);
    expect(answer.countersign.choices).toHaveLength(3);
    const one = await openai.chat.completions.create({ ...ask, seed: 1 });
    expect(one.usage?.prompt_tokens).toBe(answer.usage?.prompt_tokens);
    expect(answer.choices[0]?.message.content).toBe(one.choices[0]?.message.content);
  });

  test('a completion of several prompts streams each choice under its own index', async () => {
    const whole = await openai.completions.create({
      model: MODEL,
      prompt: ['In the beginning', 'And it came to pass'],
      max_tokens: 8,
      temperature: 0,
    });
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1]);
    const stream = await openai.completions.create({
      model: MODEL,
      prompt: ['In the beginning', 'And it came to pass'],
      max_tokens: 8,
      temperature: 0,
      stream: true,
    });
    const texts = ['', ''];
    for await (const chunk of stream) {
      const [choice] = chunk.choices;
      if (choice) texts[choice.index] = `${texts[choice.index] ?? ''}${choice.text}`;
    }
    expect(texts).toEqual(whole.choices.map(({ text }) => text));
  });

  test('embeddings are the same as floats and as base64, which the client asks for by itself, and can be shortened', async () => {
    const input = ['How do I reset my password?', 'I forgot my login'];
    const base64 = await openai.embeddings.create({ model: 'use-lite', input });
    const float = await openai.embeddings.create({ model: 'use-lite', input, encoding_format: 'float' });
    expect(base64.data).toHaveLength(2);
    base64.data.forEach(({ embedding }, row) => {
      embedding.forEach((value, at) => expect(value).toBeCloseTo(float.data[row]?.embedding[at] ?? NaN, 6));
    });
    const short = await openai.embeddings.create({
      model: 'use-lite',
      input: 'x',
      dimensions: 16,
      encoding_format: 'float',
    });
    expect(short.data[0]?.embedding).toHaveLength(16);
    expect(Math.hypot(...(short.data[0]?.embedding ?? []))).toBeCloseTo(1, 6);
    const long = await failureOf(openai.embeddings.create({ model: 'use-lite', input: 'x', dimensions: 60_000 }));
    expect([long.status, long.param]).toEqual([400, 'dimensions']);
  });

  test('models are listed and retrieved, and an unknown one is 404', async () => {
    const models = await openai.models.list();
    expect(models.data.map(({ id }) => id)).toEqual(['kjv-1m', 'use-lite', 'by-hand']);
    expect((await openai.models.retrieve('kjv-1m')).object).toBe('model');
    expect((await failureOf(openai.models.retrieve('gpt-9'))).status).toBe(404);
  });

  test('400, 401, 404: what is wrong is named in the way that the client reads', async () => {
    const refused = async (body: object) => {
      const error = await failureOf(openai.chat.completions.create({ ...ask, ...body }));
      return [error.status, error.type, error.code, error.param];
    };
    expect(await refused({ model: 'gpt-9' })).toEqual([404, 'invalid_request_error', 'model_not_found', 'model']);
    expect(await refused({ temperature: 3 })).toEqual([400, 'invalid_request_error', 'request_invalid', 'temperature']);
    expect(await refused({ nonsense: 1 })).toEqual([400, 'invalid_request_error', 'request_invalid', 'nonsense']);
    expect(await refused({ presence_penalty: 1 })).toEqual([
      400,
      'invalid_request_error',
      'request_invalid',
      'presence_penalty',
    ]);
    expect(await refused({ logprobs: true })).toEqual([
      400,
      'invalid_request_error',
      'feature_not_supported',
      'logprobs',
    ]);
    expect(
      await refused({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }),
    ).toEqual([400, 'invalid_request_error', 'request_invalid', 'messages.0.content.0.type']);
    const prompt = await failureOf(
      openai.completions.create({ model: MODEL, prompt: 'word '.repeat(2_000), max_tokens: 4 }),
    );
    expect([prompt.status, prompt.code]).toEqual([400, 'context_length_exceeded']);
    const streamed = async () => {
      const stream = await openai.completions.create({ model: MODEL, prompt: 'word '.repeat(2_000), stream: true });
      for await (const _ of stream);
    };
    expect((await failureOf(streamed())).code).toBe('context_length_exceeded');
    const name = await failureOf(openai.chat.completions.create({ ...ask, model: 'm'.repeat(64) }));
    expect([name.status, name.code]).toEqual([404, 'model_not_found']);
    const route = await failureOf(openai.moderations.create({ input: 'x' }));
    expect([route.status, route.message]).toEqual([404, expect.stringContaining('No route has this address')]);
    const stranger = openaiOf(pipeline, 'csk_wrong');
    expect(await failureOf(stranger.chat.completions.create(ask))).toMatchObject({
      status: 401,
      type: 'authentication_error',
      code: 'unauthenticated',
    });
  });

  wholeTest('a client that hangs up cancels its job, and one that asked to keep it does not', async () => {
    const jobs = async () =>
      ((await (await native.fetch('/v1/jobs?model=by-hand')).json()) as { jobs: { id: string; state: string }[] }).jobs;
    const hangUp = async (headers: Record<string, string>, stream: boolean) => {
      const before = (await jobs()).length;
      const controller = new AbortController();
      const asked = openai.chat.completions.create(
        { ...ask, model: 'by-hand', stream },
        { signal: controller.signal, headers },
      );
      const id = await until(async () => {
        const all = await jobs();
        return all.length > before && all[0]?.id;
      });
      controller.abort();
      if (stream) (await asked.catch(() => undefined)) as unknown;
      else await failureOf(asked);
      return id;
    };
    for (const stream of [false, true]) {
      const id = await hangUp({}, stream);
      await until(async () => (await native.job(id)).state === 'cancelled');
    }
    const kept = await hangUp({ 'countersign-on-hang-up': 'keep' }, false);
    const last = await hangUp({}, false);
    await until(async () => (await native.job(last)).state === 'cancelled');
    expect((await native.job(kept)).state).toBe('queued');
    await native.post(`/v1/jobs/${kept}/cancel`, undefined);
  });

  test('with an Idempotency-Key a hang-up keeps the job, whoever waits under the key gets it, and another body is 422', async () => {
    const worker = pipeline.hand(2, undefined, 'hands');
    const asked = { model: 'by-hand', prompt: 'once' };
    const headers = { 'idempotency-key': 'come-back' };
    const controller = new AbortController();
    const first = openai.completions.create(asked, { headers, signal: controller.signal });
    const job = await until(
      async () =>
        ((await (await native.fetch('/v1/jobs?state=queued')).json()) as { jobs: { id: string }[] }).jobs[0]?.id,
    );
    const waiting = openai.completions.create(asked, { headers });
    controller.abort();
    await failureOf(first);
    for (const other of [
      { ...asked, n: 2 },
      { ...asked, stream: true },
      { ...asked, user: 'u' },
    ])
      expect((await failureOf(openai.completions.create(other as typeof asked, { headers }))).status).toBe(422);
    await worker.commit(await worker.claim(job));
    for (const answer of [await waiting, await openai.completions.create(asked, { headers })])
      expect((answer as typeof answer & Countersigned).countersign).toMatchObject({ job_id: job, state: 'done' });
  });

  test('a worker that streams one thing and signs another: the client gets the text and then an error, never an end', async () => {
    const worker = pipeline.hand(2, undefined, 'hands');
    for (const lie of ['another output', 'a refuted output']) {
      const stream = await openai.completions.create({
        model: 'by-hand',
        prompt: 'x',
        stream: true,
        ...({ countersign: { attempts: 2, attestation: { recompute: lie === 'another output' ? 0 : 1 } } } as object),
      });
      const seen: string[] = [];
      const reading = (async () => {
        for await (const chunk of stream) {
          seen.push(chunk.choices[0]?.text ?? '');
          if (chunk.choices[0]?.finish_reason) seen.push('an end');
        }
      })();
      const job = await until(
        async () =>
          ((await (await native.fetch('/v1/jobs?state=queued')).json()) as { jobs: { id: string }[] }).jobs[0]?.id,
      );
      const claim = await worker.claim(job);
      await pipeline.redis
        .client('worker.hands')
        .xadd(pipeline.redis.keys.chunks(job), '*', 'e', '1', 'w', worker.id, 'n', '1', 'd', 'I swear');
      await pipeline.redis.client('worker.hands').publish(pipeline.redis.keys.piecesChannel('hands'), job);
      await until(() => seen.includes('I swear'));
      if (lie === 'another output') await worker.commit(claim);
      else {
        const output = JSON.stringify({ text: 'I swear', finish_reason: 'stop' });
        await worker.claims.commitEvidence(claim, worker.sign(worker.evidence(claim, output)), output);
      }
      const error = await failureOf(reading);
      expect([error.code, error.type]).toEqual(['answer_refuted', 'server_error']);
      expect(seen).toEqual(['I swear']);
    }
  });

  test('asked for a provisional answer, the service says what the worker wrote, and that nobody has confirmed it', async () => {
    const { data, response } = await openai.completions
      .create(
        { model: MODEL, prompt: 'In the beginning', max_tokens: 8 },
        { headers: { 'countersign-answer': 'provisional' } },
      )
      .withResponse();
    const { countersign } = data as typeof data & Countersigned;
    expect(countersign).toMatchObject({ state: 'attesting', receipt: null, provisional: true });
    expect(response.headers.get('countersign-state')).toBe('provisional');
    expect(data.choices[0]?.text.length).toBeGreaterThan(3);
    expect((await native.ended(countersign.job_id)).state).toBe('done');
    const output = JSON.parse((await native.output(countersign.job_id)).toString()) as { text: string };
    expect(output.text).toBe(data.choices[0]?.text);
  });
});

/** `countersign proxy` as a process of its own: the official client through it, and its last words. */
async function throughProxy(
  options: readonly string[],
  use: (through: OpenAI, url: string) => Promise<void>,
): Promise<{ said: string; ended: string }> {
  const keyring = join(pipeline.folder, 'keyring.json');
  const args = ['proxy', '--keyring', keyring, '--port', '0', ...options];
  const child = spawn(process.execPath, [join(pipeline.dist, 'roles', 'cli', 'main.js'), ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: pipeline.folder },
    cwd: pipeline.folder,
  });
  let [said, ended] = ['', ''];
  child.stderr.on('data', (piece: Buffer) => (ended += piece.toString()));
  const exited = new Promise((resolve) => child.once('close', resolve));
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (piece: Buffer) => {
        said += piece.toString();
        const [, found] = /^proxy (\S+)\/v1 for .*\n/.exec(said) ?? [];
        if (found !== undefined) resolve(found);
      });
      void exited.then(() => reject(new Error(ended)));
    });
    await use(new OpenAI({ baseURL: `${url}/v1`, apiKey: native.key, maxRetries: 0 }), url);
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
  return { said, ended };
}

describe('the official client through `countersign proxy`', () => {
  const text = async (stream: AsyncIterable<OpenAI.ChatCompletionChunk>) => {
    let whole = '';
    for await (const chunk of stream) whole += chunk.choices[0]?.delta.content ?? '';
    return whole;
  };

  wholeTest(
    'gets what the service answers: chats, choices, completions, embeddings, responses, streams, models',
    async () => {
      const { ended } = await throughProxy(
        ['--upstream', pipeline.url, '--require', 'recompute'],
        async (through, url) => {
          const drawn = { ...ask, temperature: 0.8, seed: 5 };
          const direct = await openai.chat.completions.create(drawn);
          const answer = await through.chat.completions.create({ ...drawn, n: 2 });
          expect(answer.choices[0]).toEqual(direct.choices[0]);
          const { countersign } = answer as typeof answer & Countersigned;
          expect(countersign.choices).toHaveLength(2);
          const receipt = await fetch(`${url}${countersign.receipt ?? ''}`, {
            headers: { authorization: `Bearer ${native.key}` },
          });
          verifyReceipt(Buffer.from(await receipt.arrayBuffer()), pipeline.keyring);
          const held = through.chat.completions.stream({ ...drawn, stream_options: { include_usage: true } });
          expect(await held.finalContent()).toBe(direct.choices[0]?.message.content);
          expect(await held.totalUsage()).toEqual(direct.usage);
          const prompt = { model: MODEL, prompt: ['In the beginning', 'And'], max_tokens: 6, temperature: 0 };
          expect((await through.completions.create(prompt)).choices).toEqual(
            (await openai.completions.create(prompt)).choices,
          );
          const input = { model: 'use-lite', input: ['How do I reset my password?', 'x'] };
          expect((await through.embeddings.create(input)).data).toEqual((await openai.embeddings.create(input)).data);
          const short = { ...input, dimensions: 8, encoding_format: 'float' as const };
          expect((await through.embeddings.create(short)).data).toEqual((await openai.embeddings.create(short)).data);
          const asked = { model: MODEL, input: 'Who was Moses?', max_output_tokens: 8, temperature: 0 };
          const response = await through.responses.create(asked);
          expect(response.output_text).toBe((await openai.responses.create(asked)).output_text);
          const streamed = await through.responses.stream(asked).finalResponse();
          expect(streamed.output_text).toBe(response.output_text);
          expect((await through.models.list()).data.map(({ id }) => id)).toContain(MODEL);
          expect((await failureOf(through.chat.completions.create({ ...ask, model: 'nowhere' }))).status).toBe(404);
          const metrics = await (await fetch(`${url}/metrics`)).text();
          expect(metrics).toMatch(/countersign_proxy_requests_total\{route="\/v1\/responses",outcome="passed"\} 2/);
        },
      );
      expect(ended).toBe('7 passed, 0 refused, 1 failed, 0 hung up\n');
    },
  );

  wholeTest('is shown a stream at once, marked, and nothing that was changed on its way', async () => {
    let change = (_path: string, body: string) => body;
    const liar = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const { method = 'GET', url = '/', headers } = request;
        const { authorization = '', 'content-type': type = '' } = headers;
        const body = method === 'POST' ? { body: Buffer.concat(pieces) } : {};
        const sent = { method, headers: { authorization, 'content-type': type }, ...body };
        void fetch(`${pipeline.url}${url}`, sent).then(async (answer) => {
          const job = answer.headers.get('countersign-job');
          response.writeHead(answer.status, job === null ? {} : { 'countersign-job': job });
          response.end(change(url, await answer.text()));
        });
      });
    });
    await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
    const upstream = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`;
    const drawn = { ...ask, temperature: 0.8, seed: 5 };
    try {
      const { ended } = await throughProxy(['--upstream', upstream, '--stream', 'provisional'], async (through) => {
        const honest = (await openai.chat.completions.create(drawn)).choices[0]?.message.content ?? '';
        expect(await text(await through.chat.completions.create({ ...drawn, stream: true }))).toBe(honest);
        const [word = ''] = /[a-z]{3,}/.exec(honest) ?? [];
        const lies: ((path: string, body: string) => string)[] = [
          (path, body) => (path.startsWith('/v1/chat') ? body.replaceAll(word, 'lies') : body),
          (path, body) =>
            path.startsWith('/v1/chat') ? body.replace('"finish_reason":"', '"finish_reason":"x') : body,
          (path, body) => (path.endsWith('/output') ? body.replace(word, 'lies') : body),
          (path, body) => (path.endsWith('/receipt') ? body.replace(/"sig":"...../, '"sig":"AAAAA') : body),
          (path, body) => (path.startsWith('/v1/chat') ? body.replace(/"total_tokens":\d/, '"total_tokens":9') : body),
        ];
        for (const [at, lie] of lies.entries()) {
          change = lie;
          const failure = await failureOf(through.chat.completions.create(drawn));
          expect([failure.status, failure.code]).toEqual([502, 'unverified_answer']);
          // Of a stream nothing but its text comes from the service: the last lie has no place.
          const streamed = through.chat.completions.create({ ...drawn, stream: true }).then(text);
          if (at === lies.length - 1) expect(await streamed).toBe(honest);
          else expect((await failureOf(streamed)).code).toBe('unverified_answer');
        }
      });
      expect(ended).toContain('2 passed, 9 refused (');
      expect(ended).not.toContain(native.key);
    } finally {
      liar.closeAllConnections();
      liar.close();
    }
  });

  wholeTest('is not let in by a keyring that nobody gave, unless it is told to trust the first one', async () => {
    const cli = (...args: string[]) =>
      spawnSync(process.execPath, [join(pipeline.dist, 'roles', 'cli', 'main.js'), 'proxy', ...args], {
        encoding: 'utf8',
        cwd: pipeline.folder,
      });
    const missing = cli('--upstream', pipeline.url, '--keyring', 'nowhere.json');
    expect([missing.status, missing.stderr]).toEqual([
      2,
      expect.stringContaining('key_file_unfit: There is no keyring at nowhere.json'),
    ]);
    expect(existsSync(join(pipeline.folder, 'nowhere.json'))).toBe(false);
    const first = [
      '--upstream',
      pipeline.url,
      '--keyring',
      join(pipeline.folder, 'first.json'),
      '--trust-on-first-use',
    ];
    const { ended } = await throughProxy(first, async (through) => {
      expect((await through.chat.completions.create(ask)).object).toBe('chat.completion');
    });
    expect(ended).toContain('trusted on first use: the keyring that');
    const kept: unknown = JSON.parse(readFileSync(join(pipeline.folder, 'first.json'), 'utf8'));
    expect(kept).toEqual(JSON.parse(readFileSync(join(pipeline.folder, 'keyring.json'), 'utf8')));
  });
});
