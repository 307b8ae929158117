import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { OpenAiEngine, type OpenAiOptions } from '../../src/core/engines/openai-engine.ts';
import { EngineError, runToEnd } from '../../src/core/engines/engine.ts';
import { OUTPUTS } from '../../src/proof/tasks/task-input.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { LlamaServer, llamaServerRoot } from '../support/llama-server.ts';
import { openaiOf } from '../support/openai.ts';
import { KJV_SHA256, Pipeline, until } from '../support/pipeline.ts';

const root = await llamaServerRoot();
const PARAMS = { max_tokens: 24, temperature: 0, top_p: 1, seed: 1, stop: [] };
const never = new AbortController().signal;

const options = (server: LlamaServer, more: Partial<OpenAiOptions> = {}): OpenAiOptions => ({
  name: 'remote',
  sha256: KJV_SHA256,
  baseUrl: server.url,
  remoteModel: 'kjv',
  timeoutMs: 120_000,
  parallel: 4,
  ...more,
});

async function failure(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'it succeeded',
    (error: unknown) => (error instanceof EngineError ? error.code : String(error)),
  );
}

(root === undefined ? describe.skip : describe)("the openai engine, against llama.cpp's own server", () => {
  const start = (...args: string[]) => LlamaServer.start(root ?? '', ['--alias', 'kjv', '-c', '4096', ...args]);

  test('completions and chats stream, count their tokens, and end for the reason that the server gives', async () => {
    await using server = await start();
    const engine = await OpenAiEngine.connect(options(server));
    const pieces: string[] = [];
    const run = engine.run({ task: 'completion', params: PARAMS }, { prompt: 'In the beginning' }, never);
    let step = await run.next();
    for (; step.done !== true; step = await run.next()) pieces.push(step.value);
    const { text, finish_reason } = JSON.parse(step.value.output) as { text: string; finish_reason: string };
    expect(pieces.join('')).toBe(text);
    expect(pieces.length).toBeGreaterThan(5);
    expect([finish_reason, step.value.usage.outputTokens]).toEqual(['length', 24]);
    const chat = await runToEnd(
      engine,
      { task: 'chat', params: PARAMS },
      { messages: [{ role: 'user', content: 'Who art thou?' }] },
      never,
    );
    expect(JSON.parse(chat.output)).toMatchObject({ message: { role: 'assistant' } });
  });

  test('embeddings come back in the order of the texts', async () => {
    await using server = await start('--embeddings', '--pooling', 'mean');
    const engine = await OpenAiEngine.connect(options(server));
    const embed = async (texts: string[]) =>
      JSON.parse((await runToEnd(engine, { task: 'embedding', params: PARAMS }, { texts }, never)).output) as {
        embeddings: number[][];
      };
    const [both, second] = [await embed(['light', 'darkness']), await embed(['darkness'])];
    expect(both.embeddings).toHaveLength(2);
    both.embeddings[1]?.forEach((value, index) => expect(value).toBeCloseTo(second.embeddings[0]?.[index] ?? NaN, 4));
  });

  test('cancelling closes the connection, and the server stops', async () => {
    await using server = await start('--slots', '-c', '65536');
    const engine = await OpenAiEngine.connect(options(server));
    const controller = new AbortController();
    const run = engine.run(
      { task: 'completion', params: { ...PARAMS, max_tokens: 60_000, temperature: 1 } },
      { prompt: 'And' },
      controller.signal,
    );
    await run.next();
    const busy = async () =>
      ((await (await fetch(`${server.url}/slots`)).json()) as { is_processing: boolean }[]).some(
        (slot) => slot.is_processing,
      );
    expect(await busy()).toBe(true);
    controller.abort(new Error('cancelled by the test'));
    await expect(run.next()).rejects.toThrow('cancelled by the test');
    await until(async () => !(await busy()));
  });

  test('a wrong key, a wrong model, a prompt that is too long, a time-out and a dead server are told apart', async () => {
    await using server = await start('--api-key', 'right');
    const keyFile = join(import.meta.dirname, '..', '..', '.cache', `key-${process.pid}`);
    writeFileSync(keyFile, 'right\n', { mode: 0o600 });
    const engine = await OpenAiEngine.connect(options(server, { apiKeyFile: keyFile }));
    expect(await failure(OpenAiEngine.connect(options(server)))).toBe('engine_refused');
    expect(await failure(OpenAiEngine.connect(options(server, { apiKeyFile: keyFile, remoteModel: 'other' })))).toBe(
      'engine_refused',
    );
    const ask = (asked: OpenAiEngine, prompt: string, max_tokens = 8) =>
      runToEnd(asked, { task: 'completion', params: { ...PARAMS, max_tokens } }, { prompt }, never);
    expect(await failure(ask(engine, 'and '.repeat(6_000)))).toBe('context_exceeded');
    // Its patience is short for the stopped server's sake; a busy machine may overtax it at first.
    const impatient = options(server, { apiKeyFile: keyFile, timeoutMs: 250 });
    const hasty = await until(() => OpenAiEngine.connect(impatient).catch(() => undefined));
    server.process.kill('SIGSTOP');
    expect(await failure(ask(hasty, 'x'))).toBe('engine_error');
    server.process.kill('SIGCONT');
    await server[Symbol.asyncDispose]();
    expect(await failure(ask(engine, 'x'))).toBe('engine_error');
  });

  test('a job through the whole pipeline is done, and its receipt says that the weights were only declared', async () => {
    await using server = await start();
    const { name, sha256, baseUrl, remoteModel, parallel } = options(server);
    const model = {
      name,
      pool: 'default',
      tasks: ['completion', 'chat'],
      engine: 'openai',
      sha256,
      baseUrl,
      remoteModel,
      parallel,
    };
    await using pipeline = await Pipeline.start({ models: [model], workers: 1 });
    const client = await pipeline.client();
    const job = await client.run({
      model: name,
      task: 'completion',
      input: { prompt: 'In the beginning' },
      params: { max_tokens: 8 },
    });
    expect(job.state).toBe('done');
    const { verdict } = verifyReceipt(await client.receipt(job.id), pipeline.keyring);
    expect(verdict.notChecked).toEqual([
      'OUTPUT_NOT_RECOMPUTED',
      'WEIGHTS_DECLARED_NOT_MEASURED',
      'HARDWARE_NOT_ATTESTED',
    ]);
    const promised = await client.post('/v1/jobs', {
      model: name,
      task: 'completion',
      input: { prompt: 'x' },
      attestation: { recompute: 1 },
    });
    expect([promised.status, ((await promised.json()) as { code: string }).code]).toEqual([
      503,
      'attestation_unavailable',
    ]);

    // What only such an engine can do reaches it, and its answer is confirmed with it.
    const openai = openaiOf(pipeline, client.key);
    const ask = { model: name, messages: [{ role: 'user' as const, content: 'Who art thou?' }] };
    const weighed = await openai.chat.completions.create({
      ...ask,
      max_completion_tokens: 4,
      logprobs: true,
      top_logprobs: 2,
    });
    const tokens = weighed.choices[0]?.logprobs?.content ?? [];
    expect(tokens.length).toBeGreaterThan(0);
    expect(tokens.map(({ token }) => token).join('')).toBe(weighed.choices[0]?.message.content);
    expect(tokens[0]?.top_logprobs).toHaveLength(2);
    const shaped = await openai.chat.completions.create({
      ...ask,
      max_completion_tokens: 200,
      response_format: {
        type: 'json_schema',
        json_schema: {
          name: 'verdict',
          schema: {
            type: 'object',
            properties: { ok: { type: 'boolean' } },
            required: ['ok'],
            additionalProperties: false,
          },
        },
      },
    });
    expect(JSON.parse(shaped.choices[0]?.message.content ?? '')).toEqual({ ok: expect.any(Boolean) });
    server.process.kill('SIGKILL');
    // Without its server the model is away, and a job waits for it: at most the first attempt finds that out.
    const question = { model: name, task: 'completion', input: { prompt: 'x' } };
    const orphan = await client.run({ ...question, attempts: 2, deadline_ms: 8_000 });
    expect(orphan.state).toBe('expired');
    expect(orphan.attempts.length).toBeLessThan(2);
  });
});

describe('the openai engine, against a server that calls tools', () => {
  // llama.cpp's server calls tools only with a chat template that knows them, which the demonstration model
  // has not; this one says what OpenAI's specification says, piece by piece.
  test('calls that come in pieces are put together, and are an output that the attestor takes', async () => {
    const asked: unknown[] = [];
    const server = createServer((request, response) => {
      if (request.url === '/v1/models') {
        response.end(JSON.stringify({ data: [{ id: 'm' }] }));
        return;
      }
      let body = '';
      request.on('data', (piece: Buffer) => (body += piece.toString()));
      request.on('end', () => {
        asked.push(JSON.parse(body));
        const call = (index: number, id: string | undefined, name: string | undefined, args: string) => ({
          choices: [
            {
              index: 0,
              delta: {
                tool_calls: [{ index, ...(id ? { id, type: 'function' } : {}), function: { name, arguments: args } }],
              },
              finish_reason: null,
            },
          ],
        });
        for (const chunk of [
          { choices: [{ index: 0, delta: { role: 'assistant', content: null }, finish_reason: null }] },
          call(0, 'call_a', 'look_up', ''),
          call(0, undefined, undefined, '{"book":'),
          call(1, 'call_b', 'look_up', '{"book":"Job"}'),
          call(0, undefined, undefined, '"Genesis"}'),
          { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] },
          { choices: [], usage: { prompt_tokens: 9, completion_tokens: 7 } },
        ])
          response.write(`data: ${JSON.stringify(chunk)}\n\n`);
        response.end('data: [DONE]\n\n');
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const engine = await OpenAiEngine.connect({
      name: 'remote',
      sha256: KJV_SHA256,
      baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      remoteModel: 'm',
      timeoutMs: 120_000,
      parallel: 1,
    });
    const tools = [{ type: 'function', function: { name: 'look_up', parameters: { type: 'object' } } }];
    const input = { messages: [{ role: 'user', content: 'x' }], tools, tool_choice: 'required' };
    const result = await runToEnd(engine, { task: 'chat', params: PARAMS }, input, never);
    expect(asked).toMatchObject([{ tools, tool_choice: 'required' }]);
    const output = OUTPUTS.chat.parse(JSON.parse(result.output));
    expect(output).toEqual({
      message: {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'call_a', type: 'function', function: { name: 'look_up', arguments: '{"book":"Genesis"}' } },
          { id: 'call_b', type: 'function', function: { name: 'look_up', arguments: '{"book":"Job"}' } },
        ],
      },
      finish_reason: 'tool_calls',
    });
    expect([result.finishReason, result.usage]).toEqual(['tool_calls', { inputTokens: 9, outputTokens: 7 }]);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
