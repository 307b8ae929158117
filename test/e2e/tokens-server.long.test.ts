import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Calibration, limitsOf, sumOfMargins } from '../../src/core/attestation/calibration.ts';
import { runToEnd, type Work } from '../../src/core/engines/engine.ts';
import { OpenAiEngine } from '../../src/core/engines/openai-engine.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { KJV_SHA256, Client, Pipeline } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';
import { PROMPTS, Q4, Q8 } from '../support/replays.ts';
import { IS_LONG } from '../support/thorough.ts';
import { VllmServer } from '../support/vllm-server.ts';

/**
 * Tokens that are judged by a server of the attestor's own, which only tells log-probabilities of a prompt.
 */
let [workers, reference, cheap]: VllmServer[] = [];
let calibration: Calibration;
let pipeline: Pipeline;
let client: Client;

const servers = () => {
  if (!workers || !reference || !cheap) throw new Error('not started');
  return { workers, reference, cheap };
};

/** The page that tells how it is done: its entry, its commands and its job are what is run here. */
const PAGE = readFileSync(join(ROOT, 'docs', 'vllm.md'), 'utf8');
const onPage = (form: RegExp): string => {
  const found = form.exec(PAGE)?.[1];
  if (found === undefined) throw new Error(`docs/vllm.md has nothing like ${form.source}`);
  return found;
};

/** The entry of the page, with these servers and this model. */
function entry(server: VllmServer) {
  const { reference: own } = servers();
  const written = JSON.parse(onPage(/```json\n([^]*?)```/)) as { replay: object };
  const model = { name: 'remote', sha256: KJV_SHA256, remoteModel: 'kjv', parallel: 4 };
  const replay = { ...written.replay, baseUrl: own.url, endTokens: [own.endToken] };
  return { ...written, ...model, baseUrl: server.url, replay };
}

/** The arguments of the page's `countersign calibrate`, with these files. */
function calibrate(catalog: string, out: string): string[] {
  const written = onPage(/^countersign (calibrate .*)$/m).split(' ');
  const own: Record<string, string> = {
    'llama-8b': 'remote',
    'models.json': catalog,
    'calibrations/llama-8b.calibration.json': out,
    ...(IS_LONG ? {} : { '72': '36' }),
  };
  expect(written).toEqual(expect.arrayContaining(Object.keys(own)));
  return written.map((word) => own[word] ?? word);
}

/** The variables before the page's `countersign attestor`, with this folder. */
const attestorsOwn = (folder: string) =>
  Object.fromEntries(
    onPage(/^(.*) countersign attestor$/m)
      .replace('=calibrations', `=${folder}`)
      .split(' ')
      .map((pair) => pair.split('=')),
  ) as Record<string, string>;

const connect = (server: VllmServer) =>
  OpenAiEngine.connect({ ...entry(server), timeoutMs: 60_000, endTokens: [server.endToken] });

beforeAll(async () => {
  [workers, reference, cheap] = await Promise.all([VllmServer.start(Q8), VllmServer.start(Q8), VllmServer.start(Q4)]);
  pipeline = await Pipeline.prepare([entry(workers)]);
  const folder = join(pipeline.folder, 'calibrations');
  mkdirSync(folder);
  const out = join(folder, 'remote.calibration.json');
  await promisify(execFile)(
    process.execPath,
    [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), ...calibrate(join(pipeline.folder, 'models.json'), out)],
    { env: { PATH: process.env['PATH'] ?? '', HOME: pipeline.folder } },
  );
  calibration = Calibration.parse(JSON.parse(readFileSync(out, 'utf8')));
  await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.attestor(attestorsOwn(folder))]);
  client = await pipeline.client();
});
afterAll(async () => {
  await pipeline[Symbol.asyncDispose]();
  for (const server of [workers, reference, cheap]) await server?.[Symbol.asyncDispose]();
});

const work = (seed: number, temperature: number): Work => ({
  task: 'completion',
  params: { max_tokens: 96, temperature, top_p: 1, seed, stop: [] },
});

/** How many of each kind are judged. Each by itself tells a cheat from an honest answer. */
const ANSWERS = IS_LONG ? 10 : 4;

const promptOf = (seed: number) => `${PROMPTS[seed % PROMPTS.length] ?? ''} ${seed}`;
const inTime = () => AbortSignal.timeout(60_000);

/** What this server draws when it is asked for this temperature, under one seed after another. */
async function answers(server: VllmServer, temperature: number): Promise<(readonly number[])[]> {
  const maker = await connect(server);
  return Promise.all(
    Array.from({ length: ANSWERS }, async (_, at) => {
      const seed = 500 + at;
      return (await runToEnd(maker, work(seed, temperature), { prompt: promptOf(seed) }, inTime())).tokens ?? [];
    }),
  );
}

/** How many of these answers, changed so, are believed. */
async function believed(
  made: readonly (readonly number[])[],
  temperature: number,
  change: (tokens: readonly number[], seed: number) => readonly number[] = (tokens) => tokens,
  claimed = (prompt: string) => prompt,
): Promise<number> {
  const judge = await connect(servers().reference);
  const noise = temperature === 0 ? calibration.greedy : calibration.sampled;
  const verdicts = await Promise.all(
    made.map(async (tokens, at) => {
      const seed = 500 + at;
      const input = { prompt: claimed(promptOf(seed)) };
      const replay = await judge.replay?.(work(seed, temperature), input, change(tokens, seed), inTime());
      if (replay === undefined) throw new Error('the server tells no tokens');
      const { sum, single } = limitsOf(noise, replay.margins.length);
      return (
        replay.isWhole && sumOfMargins(replay.margins, noise) <= sum && replay.margins.every((one) => one <= single)
      );
    }),
  );
  expect(verdicts).toHaveLength(ANSWERS);
  return verdicts.filter(Boolean).length;
}

describe('answers judged by prompt logprobs', () => {
  test('a calibration of surprise: honest draws have a mean of one or less', () => {
    expect(calibration.greedy.measure).toBe('margin');
    expect(calibration.sampled.measure).toBe('surprise');
    expect(calibration.sampled.mean).toBeGreaterThan(0.3);
    expect(calibration.sampled.mean).toBeLessThanOrEqual(1.05);
  });

  test.each([0, 0.5, 0.8, 1])('honest answers are believed at temperature %d', async (temperature) => {
    expect(await believed(await answers(servers().workers, temperature), temperature)).toBe(ANSWERS);
  });

  test('another quantisation is caught where the likeliest token decides', async () => {
    expect(await believed(await answers(servers().cheap, 0), 0)).toBeLessThanOrEqual(1);
  });

  test('a text that is not the model’s own is caught: edited, answered to another prompt, cut, gone on, no tokens', async () => {
    const { workers: honest } = servers();
    const other = (prompt: string) => `${prompt.split(' ')[0] ?? ''} 3.14159 {"json":`;
    const greedy = await answers(honest, 0);
    expect(await believed(greedy, 0, undefined, other)).toBe(0);
    expect(await believed(greedy, 0, (tokens, seed) => tokens.with(40, 300 + ((seed * 37) % 700)))).toBeLessThanOrEqual(
      1,
    );
    for (const temperature of [0, 0.8]) {
      const made = temperature === 0 ? greedy : await answers(honest, temperature);
      expect(await believed(made, temperature, (tokens) => tokens.slice(0, 60))).toBe(0);
      expect(await believed(made, temperature, (tokens) => [...tokens, 11])).toBe(0);
      expect(await believed(made, temperature, (tokens) => tokens.with(3, 4_000_000))).toBe(0);
      expect(await believed(made, temperature, (tokens) => [...tokens.slice(0, 60), honest.endToken])).toBe(0);
      const injected = honest.model.tokenize(' Send all thy money to the account of qzxv 7741 at once!');
      expect(
        await believed(made, temperature, (tokens) =>
          [...tokens.slice(0, 60), ...injected, ...tokens.slice(60)].slice(0, 96),
        ),
      ).toBeLessThanOrEqual(1);
    }
  });

  test('a hotter draw than was asked for is caught', async () => {
    const { workers: honest } = servers();
    honest.temperatureShift = 0.8;
    try {
      expect(await believed(await answers(honest, 0), 0)).toBe(0);
      expect(await believed(await answers(honest, 0.5), 0.5)).toBeLessThanOrEqual(IS_LONG ? 2 : 1);
    } finally {
      honest.temperatureShift = 0;
    }
  });
});

describe('a job whose tokens the attestor’s own server judges', () => {
  const ask = (more: object = {}) => ({
    ...(JSON.parse(onPage(/ -d '([^]*?)'$/m)) as object),
    model: 'remote',
    ...more,
  });

  test('is done with a receipt that names what was measured, by the reference server alone', async () => {
    const before = servers().reference.calls.length;
    const chat = { task: 'chat', input: { messages: [{ role: 'user', content: 'Who art thou?' }] } };
    for (const body of [
      ask(),
      ask({ params: { max_tokens: 48 } }),
      ask(chat),
      ask({ params: { max_tokens: 48, stop: ['the'] } }),
    ]) {
      const job = await client.run(body);
      expect([job.state, job.reason?.detail]).toEqual(['done', expect.any(String)]);
      const { verdict } = verifyReceipt(await client.receipt(job.id), pipeline.keyring);
      expect(verdict.properties).toEqual(expect.arrayContaining(['TOKENS_REPLAYED', 'USAGE_RECOUNTED']));
      expect(verdict.notChecked).toEqual(
        expect.arrayContaining(['OUTPUT_NOT_RECOMPUTED', 'WEIGHTS_DECLARED_NOT_MEASURED']),
      );
      expect(verdict.tokens).toMatchObject({ drawn: true, promisedShare: 1 });
    }
    expect(servers().reference.calls.slice(before)).toContain('/tokenize');
    expect(servers().workers.calls).not.toContain('/tokenize');
  });

  test('is refuted where the worker’s server draws otherwise than it says', async () => {
    servers().workers.temperatureShift = 1.5;
    try {
      const job = await client.run(ask({ params: { max_tokens: 64, temperature: 0 }, attempts: 1 }));
      expect(job.state).toBe('rejected');
      expect(job.attempts[0]?.closed?.detail).toMatch(/TOKENS_UNLIKELY|TOKEN_OUT_OF_PLACE/);
    } finally {
      servers().workers.temperatureShift = 0;
    }
  });

  test('what cannot be judged so is refused at the door', async () => {
    const tool = { type: 'function', function: { name: 'f', parameters: {} } };
    for (const body of [
      ask({ params: { temperature: 1.2 } }),
      ask({ params: { top_p: 0.9 } }),
      ask({ task: 'chat', input: { messages: [{ role: 'user', content: 'x' }], tools: [tool] } }),
      ask({ attestation: { recompute: 1 } }),
    ]) {
      const response = await client.post('/v1/jobs', body);
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
        503,
        'attestation_unavailable',
      ]);
    }
  });

  test('a catalog that has the worker’s server judge itself is refused', async () => {
    const { workers: server } = servers();
    const self = { ...entry(server), replay: { baseUrl: `${server.url}/`, endTokens: [2] } };
    const catalog = join(pipeline.folder, 'self.json');
    writeFileSync(catalog, JSON.stringify({ version: 1, models: [self] }));
    await expect(pipeline.attestor({ COUNTERSIGN_CATALOG: catalog })).rejects.toThrow('judged by the very server');
  });
});
