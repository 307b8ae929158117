import { expect, test } from '@jest/globals';
import { PROMPTS, Q8, answer, isPlausible, load, replay, shipped, work } from '../support/replays.ts';

const JOBS = 2_100;
const TEMPERATURES = [0, 0.4, 0.7, 0.9, 1, 1.2];

test(`of ${JOBS} honest answers, of other threads and batch sizes than the attestor's, fewer than 1 in 1,000 is refuted`, async () => {
  const calibration = shipped();
  const reference = await load(Q8, { parallel: 4 });
  let [jobs, refuted] = [0, 0];
  for (const { parallel, threads, share } of [
    { parallel: 1, threads: 1, share: 0.32 },
    { parallel: 3, threads: 1, share: 0.34 },
    { parallel: 8, threads: 1, share: 0.32 },
    { parallel: 1, threads: 2, share: 0.02 },
  ]) {
    const worker = await load(Q8, { parallel, threads });
    const seeds = Array.from({ length: Math.round(JOBS * share) }, (_, at) => 50_000 + jobs + at);
    jobs += seeds.length;
    const lanes = Array.from({ length: parallel }, async () => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
        const temperature = TEMPERATURES[seed % TEMPERATURES.length] ?? 0;
        const asked = work(seed, temperature, 16 + ((seed * 7) % 180));
        const prompt = `${PROMPTS[seed % PROMPTS.length] ?? ''} ${seed.toString(36)}`;
        const replayed = await replay(reference, asked, prompt, (await answer(worker, asked, prompt)).tokens ?? []);
        if (!isPlausible(replayed, temperature === 0 ? calibration.greedy : calibration.sampled)) refuted += 1;
      }
    });
    await Promise.all(lanes);
    await worker.close();
  }
  await reference.close();
  process.stderr.write(`${refuted} of ${jobs} honest answers refuted\n`);
  expect(jobs).toBeGreaterThanOrEqual(2_000);
  expect(refuted / jobs).toBeLessThan(1e-3);
}, 900_000);
