import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { OpenAiEngine, type OpenAiOptions } from '../../src/engines/openai-engine.ts';
import { EngineError, runToEnd } from '../../src/engines/engine.ts';
import { verifyReceipt } from '../../src/receipts/receipt.ts';
import { LlamaServer, llamaServerRoot } from '../support/llama-server.ts';
import { KJV_SHA256, Pipeline, until } from '../support/pipeline.ts';

const root = await llamaServerRoot();
const PARAMS = { max_tokens: 24, temperature: 0, top_p: 1, seed: 1, stop: [] };
const never = new AbortController().signal;

const options = (server: LlamaServer, more: Partial<OpenAiOptions> = {}): OpenAiOptions => ({
  name: 'remote',
  sha256: KJV_SHA256,
  baseUrl: server.url,
  remoteModel: 'kjv',
  timeoutMs: 20_000,
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
    expect(await failure(ask(engine, 'and '.repeat(6_000)))).toBe('engine_refused');
    const hasty = await OpenAiEngine.connect(options(server, { apiKeyFile: keyFile, timeoutMs: 100 }));
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
    const job = await client.submit(
      { model: name, task: 'completion', input: { prompt: 'In the beginning' }, params: { max_tokens: 8 } },
      { prefer: 'wait=30' },
    );
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
    server.process.kill('SIGKILL');
    const orphan = await client.submit(
      { model: name, task: 'completion', input: { prompt: 'x' }, attempts: 2 },
      { prefer: 'wait=30' },
    );
    expect([orphan.state, orphan.reason?.code, orphan.attempts.length]).toEqual(['failed', 'attempts_exhausted', 2]);
  });
});
