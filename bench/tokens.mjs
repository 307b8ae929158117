// The method `tokens`: the cost of a replay beside that of the generation, and the share of honest and of
// other answers that it refutes.
import { readFileSync } from 'node:fs';
import { dist } from './arena.mjs';

const { LlamaEngine } = await dist('core/engines/llama-engine.js');
const { runToEnd } = await dist('core/engines/engine.js');
const { limitsOf, sumOfMargins } = await dist('core/attestation/calibration.js');
const { sha256Hex } = await dist('ground/blobs/sha256.js');

const models = new URL('../models/', import.meta.url).pathname;
const PROMPTS = ['And the LORD spake', 'In those days', 'The children of', 'Blessed is he that', 'Who shall'];
const LENGTHS = [16, 32, 64, 128, 224];

const load = (quantisation) => {
  const file = `${models}kjv-1m-${quantisation}.gguf`;
  const options = { name: 'kjv-1m', contextTokens: 256, parallel: 1, threads: 1, gpu: false };
  return LlamaEngine.load({ ...options, file, sha256: sha256Hex(readFileSync(file)) });
};
const work = (seed, temperature, tokens) => ({
  task: 'completion',
  params: { max_tokens: tokens, temperature, top_p: 1, seed, stop: [] },
});
const answer = (engine, asked, prompt) => runToEnd(engine, asked, { prompt }, AbortSignal.timeout(60_000));

export async function benchTokens({ jobs }, say) {
  const [worker, reference, q4] = [await load('q8_0'), await load('q8_0'), await load('q4_0')];
  const calibration = JSON.parse(readFileSync(`${models}kjv-1m-q8_0.calibration.json`, 'utf8'));
  const isRefuted = ({ isWhole, margins }, temperature) => {
    const { sum, single } = limitsOf(temperature === 0 ? calibration.greedy : calibration.sampled, margins.length);
    return !isWhole || sumOfMargins(margins) > sum || margins.some((margin) => margin > single);
  };
  const each = Math.max(20, Math.round(jobs / 50));
  const made = {
    honest: (seed, temperature, length, prompt) => answer(worker, work(seed, temperature, length), prompt),
    'Q4 for Q8': (seed, temperature, length, prompt) => answer(q4, work(seed, temperature, length), prompt),
    'temperature + 0.2': (seed, temperature, length, prompt) =>
      answer(worker, work(seed, temperature + 0.2, length), prompt),
    'another seed': (seed, temperature, length, prompt) =>
      answer(worker, work(seed + 9_999, temperature, length), prompt),
    'another prompt': (seed, temperature, length, prompt) =>
      answer(worker, work(seed, temperature, length), PROMPTS[(PROMPTS.indexOf(prompt) + 1) % PROMPTS.length]),
    'one token edited': async (seed, temperature, length, prompt) => {
      const { tokens } = await answer(worker, work(seed, temperature, length), prompt);
      return { tokens: tokens.with(seed % tokens.length, 300 + ((seed * 37) % 700)) };
    },
    'cut in half': async (seed, temperature, length, prompt) => {
      const { tokens } = await answer(worker, work(seed, temperature, length), prompt);
      return { tokens: tokens.slice(0, tokens.length / 2) };
    },
  };
  const refuted = {};
  const cost = {};
  for (const length of LENGTHS) {
    let [generating, replaying] = [0, 0];
    for (const [name, make] of Object.entries(made)) {
      let count = 0;
      for (let seed = 0; seed < each; seed += 1) {
        const [temperature, prompt] = [[0.5, 0.8, 1][seed % 3], PROMPTS[seed % PROMPTS.length]];
        let started = performance.now();
        const { tokens } = await make(seed, temperature, length, prompt);
        if (name === 'honest') generating += performance.now() - started;
        started = performance.now();
        const replay = await reference.replay(
          work(seed, temperature, length),
          { prompt },
          tokens,
          AbortSignal.timeout(60_000),
        );
        if (name === 'honest') replaying += performance.now() - started;
        if (isRefuted(replay, temperature)) count += 1;
      }
      (refuted[name] ??= {})[length] = count / each;
    }
    cost[length] = replaying / generating;
    say(
      `tokens, ${length} an answer: ${Object.entries(refuted)
        .map(([name, by]) => `${name} ${by[length].toFixed(3)}`)
        .join(', ')}; cost ${cost[length].toFixed(3)}`,
    );
  }
  for (const engine of [worker, reference, q4]) await engine.close();
  return { tokens: { answers_each: each, refuted, cost_of_generation: cost } };
}
