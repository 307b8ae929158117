import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { noiseOf } from '../../src/core/attestation/calibration.ts';
import fc from 'fast-check';
import { EngineError, runToEnd, type Work } from '../../src/core/engines/engine.ts';
import type { LlamaEngine } from '../../src/core/engines/llama-engine.ts';
import { SeededDraws } from '../../src/core/engines/seeded-draws.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { MAX_SEED } from '../../src/proof/tasks/sampling.ts';
import { REQUESTS, admitted } from '../support/drawn-requests.ts';
import { KJV_MODEL, NOOP_MODEL, Pipeline } from '../support/pipeline.ts';
import { PROMPTS, Q4, Q8, answer, isPlausible, load, replay, shipped, work } from '../support/replays.ts';
import { IS_LONG, longTest } from '../support/thorough.ts';
import { VECTORS } from '../support/vectors.ts';

const TEMPERATURES = [0, 0.6, 0.8, 1];
/** How many answers of each kind are judged: of every temperature as many. */
const ANSWERS = IS_LONG ? 20 : 8;

describe('tokens that are replayed', () => {
  let [worker, reference, q4]: LlamaEngine[] = [];
  const calibration = shipped();
  beforeAll(async () => {
    [worker, reference, q4] = await Promise.all([load(Q8), load(Q8), load(Q4)]);
  });
  afterAll(async () => {
    for (const engine of [worker, reference, q4]) await engine?.close();
  });
  const engines = () => {
    if (!worker || !reference || !q4) throw new Error('not loaded');
    return { worker, reference, q4 };
  };

  /** How many of `count` answers that are made and claimed so are believed. */
  async function believed(
    count: number,
    make: (seed: number, temperature: number, prompt: string) => Promise<number[]>,
  ): Promise<number> {
    let found = 0;
    for (let seed = 0; seed < count; seed += 1) {
      const temperature = TEMPERATURES[seed % TEMPERATURES.length] ?? 0;
      const prompt = PROMPTS[seed % PROMPTS.length] ?? '';
      const tokens = await make(seed, temperature, prompt);
      const replayed = await replay(engines().reference, work(seed, temperature), prompt, tokens);
      if (isPlausible(replayed, temperature === 0 ? calibration.greedy : calibration.sampled)) found += 1;
    }
    return found;
  }
  /** Honest answers are changed in many ways, and made once. */
  const made = new Map<string, readonly number[]>();
  const honest = async (seed: number, temperature: number, prompt: string) => {
    const name = `${seed} ${temperature} ${prompt}`;
    const tokens = made.get(name) ?? (await answer(engines().worker, work(seed, temperature), prompt)).tokens ?? [];
    made.set(name, tokens);
    return [...tokens];
  };

  test('honest answers are believed, and read as they were written', async () => {
    expect(await believed(2 * ANSWERS, honest)).toBe(2 * ANSWERS);
    const asked = work(3, 0.8);
    const made = await answer(engines().worker, asked, 'Blessed');
    expect((await replay(engines().reference, asked, 'Blessed', made.tokens ?? [])).result).toEqual(made);
  });

  test.each<[string, (seed: number, temperature: number, prompt: string) => Promise<number[]>, number]>([
    [
      'a smaller model of the same weights (Q4 for Q8)',
      async (seed, temperature, prompt) => [
        ...((await answer(engines().q4, work(seed, temperature), prompt)).tokens ?? []),
      ],
      0,
    ],
    [
      'another temperature',
      async (seed, temperature, prompt) => [
        ...((await answer(engines().worker, work(seed, temperature + 0.4), prompt)).tokens ?? []),
      ],
      0,
    ],
    [
      'another prompt',
      (seed, temperature, prompt) =>
        honest(seed, temperature, PROMPTS[(PROMPTS.indexOf(prompt) + 1) % PROMPTS.length] ?? ''),
      0,
    ],
    // At temperature 0 a seed decides nothing: a quarter of the answers is the same answer.
    ['another seed', (seed, temperature, prompt) => honest(seed + 1_000, temperature, prompt), ANSWERS / 4],
    [
      'a token edited',
      async (seed, temperature, prompt) =>
        (await honest(seed, temperature, prompt)).with(40, 300 + ((seed * 37) % 700)),
      1,
    ],
    [
      'an answer that was cut',
      async (seed, temperature, prompt) => (await honest(seed, temperature, prompt)).slice(0, 60),
      0,
    ],
    [
      'an answer that goes on',
      async (seed, temperature, prompt) => [...(await honest(seed, temperature, prompt)), 11],
      0,
    ],
    [
      'tokens that are none',
      async (seed, temperature, prompt) => (await honest(seed, temperature, prompt)).with(3, 4_000_000),
      0,
    ],
  ])('%s is caught', async (_, make, most) => {
    expect(await believed(ANSWERS, make)).toBeLessThanOrEqual(most);
  });

  test('Q8 in place of the full weights is caught by a calibration of the full weights', async () => {
    const file = join(VECTORS, '..', 'models', 'kjv-1m-f32.gguf');
    if (!existsSync(file)) {
      process.stderr.write(`SKIPPED: ${file} is not there\n`);
      return;
    }
    const full = await load(file);
    const made = await load(file);
    try {
      const margins: (readonly number[])[] = [];
      for (let seed = 0; seed < 40; seed += 1) {
        const [asked, prompt] = [work(seed, TEMPERATURES[1 + (seed % 3)] ?? 0), PROMPTS[seed % 5] ?? ''];
        margins.push((await replay(full, asked, prompt, (await answer(made, asked, prompt)).tokens ?? [])).margins);
      }
      const own = noiseOf(margins);
      let fooled = 0;
      for (let seed = 100; seed < 120; seed += 1) {
        const [asked, prompt] = [work(seed, TEMPERATURES[1 + (seed % 3)] ?? 0), PROMPTS[seed % 5] ?? ''];
        const replayed = await replay(
          full,
          asked,
          prompt,
          (await answer(engines().worker, asked, prompt)).tokens ?? [],
        );
        if (isPlausible(replayed, own)) fooled += 1;
      }
      expect(fooled).toBe(0);
    } finally {
      await Promise.all([full.close(), made.close()]);
    }
  });

  longTest('at every border of every number that admission takes, an answer is drawn again and believed', async () => {
    const other = await load(Q8, { parallel: 1 });
    const { params } = work(7, 0.9, 12);
    const borders: Partial<typeof params>[] = [
      ...[0, 1, 2 ** 31 - 1, 2 ** 31, MAX_SEED].map((seed) => ({ seed })),
      ...[0, 0.01, 1, 2 - 1e-15, 2].map((temperature) => ({ temperature })),
      ...[5e-324, 1e-9, 0.5, 1 - 1e-16].map((top_p) => ({ top_p })),
      ...[1, 131_072].map((max_tokens) => ({ max_tokens, temperature: 2 })),
      ...[['e'], ['the ', 'n '], ['n him,'], [' '.repeat(64)], ['\uFFFD'], ['😀']].map((stop) => ({ stop })),
    ];
    const [prompt = ''] = PROMPTS;
    try {
      for (const border of borders) {
        const asked: Work = { task: 'completion', params: { ...params, ...border } };
        const made = await answer(engines().worker, asked, prompt);
        expect([border, await answer(other, asked, prompt)]).toEqual([border, made]);
        if (asked.params.top_p < 1) continue;
        const replayed = await replay(engines().reference, asked, prompt, made.tokens ?? []);
        const noise = asked.params.temperature === 0 ? calibration.greedy : calibration.sampled;
        expect([border, replayed.result, isPlausible(replayed, noise)]).toEqual([border, made, true]);
      }
    } finally {
      await other.close();
    }
  });

  test.each(REQUESTS)('whatever is asked at %s: two machines answer alike, and are believed', async (_, drawn) => {
    const other = await load(Q8, { parallel: 1, threads: 2 });
    const outcome = (engine: LlamaEngine, asked: Work, input: object) =>
      runToEnd(engine, asked, input, AbortSignal.timeout(60_000)).catch((error: unknown) => {
        if (error instanceof EngineError) return error.code;
        throw error;
      });
    try {
      await fc.assert(
        fc.asyncProperty(drawn, async ({ body, read }) => {
          const jobs = await admitted(read);
          fc.pre(jobs.length > 0);
          for (const { task, plan } of jobs) {
            const asked: Work = { task, params: plan.params };
            const input = JSON.parse(plan.input) as object;
            const made = await outcome(engines().worker, asked, input);
            expect([body, await outcome(other, asked, input)]).toEqual([body, made]);
            if (typeof made === 'string' || asked.params.top_p < 1) continue;
            const signal = AbortSignal.timeout(60_000);
            const replayed = await engines().reference.replay(asked, input, made.tokens ?? [], signal);
            const noise = asked.params.temperature === 0 ? calibration.greedy : calibration.sampled;
            expect([body, replayed.result, isPlausible(replayed, noise)]).toEqual([body, made, true]);
          }
        }),
        { numRuns: IS_LONG ? 150 : 3 },
      );
    } finally {
      await other.close();
    }
  });

  test('the draws of a seed are those of std::mt19937', () => {
    // The first 64 bits of the generator for seed 1 are 1791095845 and 4282876139.
    expect(new SeededDraws(1).next()).toBeCloseTo((1_791_095_845 + 4_282_876_139 * 2 ** 32) / 2 ** 64, 12);
  });
});

describe('a job whose tokens are replayed', () => {
  let pipeline: Pipeline;
  beforeAll(async () => {
    pipeline = await Pipeline.start({ models: [NOOP_MODEL, KJV_MODEL], workers: 1 });
  });
  afterAll(async () => {
    await pipeline[Symbol.asyncDispose]();
  });
  const ask = (change: object) => ({
    model: 'kjv-1m',
    task: 'completion',
    input: { prompt: 'And it came to pass' },
    params: { temperature: 0.8, seed: 7, max_tokens: 100 },
    attestation: { recompute: 0, tokens: 1 },
    ...change,
  });

  test('says so in its receipt, with what was measured and against which calibration', async () => {
    const client = await pipeline.client();
    const { id } = await client.submit(ask({}));
    expect((await client.ended(id)).state).toBe('done');
    const receipt = verifyReceipt(await client.receipt(id), pipeline.keyring);
    expect(receipt.verdict.properties).toEqual(expect.arrayContaining(['TOKENS_REPLAYED', 'USAGE_RECOUNTED']));
    expect(receipt.verdict.tokens).toMatchObject({ promisedShare: 1, drawn: true, tokens: 100 });
    expect(receipt.verdict.tokens?.margin).toBeLessThan(receipt.verdict.tokens?.limit ?? 0);
    expect(receipt.verdict.notChecked).toContain('OUTPUT_NOT_RECOMPUTED');
  });

  test('is refused at the door where nobody can replay: no calibration, a cut sampler, nothing that is text', async () => {
    const client = await pipeline.client();
    for (const change of [{ model: 'noop' }, { params: { top_p: 0.9 } }]) {
      const response = await client.post('/v1/jobs', ask(change));
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({ code: 'attestation_unavailable' });
    }
  });
});
