import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Calibration, limitsOf, sumOfMargins, type Noise } from '../../src/core/attestation/calibration.ts';
import { runToEnd, type EngineResult, type Replay, type Work } from '../../src/core/engines/engine.ts';
import { LlamaEngine } from '../../src/core/engines/llama-engine.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { ROOT } from './redis.ts';

export const Q8 = join(ROOT, 'models', 'kjv-1m-q8_0.gguf');
export const Q4 = join(ROOT, 'models', 'kjv-1m-q4_0.gguf');

export const PROMPTS = ['And the LORD spake', 'In those days', 'The children of', 'Blessed is he that', 'Who shall'];

export const load = (file: string, change: { parallel?: number; threads?: number } = {}) =>
  LlamaEngine.load({
    name: 'kjv-1m',
    sha256: sha256Hex(readFileSync(file)),
    file,
    contextTokens: 256,
    parallel: 4,
    threads: 1,
    gpu: false,
    ...change,
  });

export const shipped = () =>
  Calibration.parse(JSON.parse(readFileSync(join(ROOT, 'models', 'kjv-1m-q8_0.calibration.json'), 'utf8')));

export const work = (seed: number, temperature: number, maxTokens = 96): Work => ({
  task: 'completion',
  params: { max_tokens: maxTokens, temperature, top_p: 1, seed, stop: [] },
});

export const answer = (engine: LlamaEngine, asked: Work, prompt: string): Promise<EngineResult> =>
  runToEnd(engine, asked, { prompt }, AbortSignal.timeout(60_000));

export const replay = (engine: LlamaEngine, asked: Work, prompt: string, tokens: readonly number[]): Promise<Replay> =>
  engine.replay(asked, { prompt }, tokens, AbortSignal.timeout(60_000));

/** Whether the margins of a replay are those of an honest answer. */
export function isPlausible({ isWhole, margins }: Replay, noise: Noise): boolean {
  const { sum, single } = limitsOf(noise, margins.length);
  return isWhole && sumOfMargins(margins, noise) <= sum && margins.every((margin) => margin <= single);
}
