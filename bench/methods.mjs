// Jobs per second and CPU of an attestor for each method, with one attestor, one worker, 64 jobs in flight.
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { dist, keys, median, MODEL, openAdmission, openArena, pause } from './arena.mjs';

const { sha256Hex } = await dist('ground/blobs/sha256.js');

const file = new URL('../models/kjv-1m-q8_0.gguf', import.meta.url).pathname;
const KJV = {
  name: 'kjv-1m',
  pool: 'default',
  tasks: ['completion', 'chat'],
  engine: 'llama',
  file,
  sha256: sha256Hex(readFileSync(file)),
  contextTokens: 256,
  parallel: 4,
  threads: 1,
};
const IN_FLIGHT = 64;
const TOKENS = 64;
/** Clock ticks of /proc. */
const TICK_US = 10_000;

const METHODS = {
  binding: { model: MODEL, attestation: { recompute: 0 }, share: 1 },
  'recompute (no-op engine)': { model: MODEL, attestation: { recompute: 1 }, share: 1 },
  [`none, ${TOKENS} tokens generated`]: { model: KJV, attestation: { recompute: 0 }, share: 0.05 },
  [`recompute, ${TOKENS} tokens`]: { model: KJV, attestation: { recompute: 1 }, share: 0.05 },
  [`tokens, ${TOKENS} tokens`]: { model: KJV, attestation: { recompute: 0, tokens: 1 }, share: 0.05 },
};

function cpuUs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

/** The functions with the greatest shares of a profile's time. */
function hottest(folder, count = 8) {
  const [name] = readdirSync(folder).filter((entry) => entry.endsWith('.cpuprofile'));
  if (name === undefined) return [];
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));
  const names = new Map(nodes.map(({ id, callFrame }) => [id, callFrame.functionName || '(anonymous)']));
  const times = new Map();
  samples.forEach((id, at) => {
    const of = names.get(id);
    if (of !== '(idle)') times.set(of, (times.get(of) ?? 0) + timeDeltas[at]);
  });
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([of, time]) => `${of} ${((time / total) * 100).toFixed(1)} %`);
}

export async function benchMethods({ rounds, jobs }, say) {
  const results = {};
  for (const [name, { model, attestation, share }] of Object.entries(METHODS)) {
    const arena = await openArena([model]);
    const profiles = `${arena.folder}/profiles`;
    await arena.role('worker');
    const { child } = await arena.role(
      'attestor',
      { COUNTERSIGN_RECOMPUTE_MODELS: model.name, COUNTERSIGN_KEEP_JOBS: '1000000' },
      ['--cpu-prof', `--cpu-prof-dir=${profiles}`],
    );
    const { admission, close } = await openAdmission(arena, model);
    const count = Math.max(IN_FLIGHT, Math.round(jobs * share));
    const round = async (number) => {
      const before = await arena.admin.zcard(keys.ended);
      const [started, cpu] = [performance.now(), cpuUs(child.pid)];
      let [submitted, done] = [0, 0];
      while (done < count) {
        const room = Math.min(IN_FLIGHT - (submitted - done), count - submitted);
        await Promise.all(
          Array.from({ length: room }, (_, at) => {
            const prompt = `And the king ${number} ${submitted + at}`;
            const params = { max_tokens: TOKENS, temperature: 0.8 };
            return admission.submit(
              { tenant: 'bench', keyId: 'bench', limits: { tenant: {}, key: {} } },
              { model: model.name, task: 'completion', input: { prompt }, params, attestation },
            );
          }),
        );
        submitted += room;
        done = (await arena.admin.zcard(keys.ended)) - before;
        await pause(2);
      }
      return { rate: count / ((performance.now() - started) / 1_000), cpu: (cpuUs(child.pid) - cpu) / count };
    };
    try {
      await round('warm');
      const all = [];
      for (let number = 0; number < rounds; number += 1) all.push(await round(number));
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await exited;
      results[name] = {
        jobs_per_second: median(all.map(({ rate }) => rate)),
        attestor_cpu_us_per_job: median(all.map(({ cpu }) => cpu)),
        attestor_profile: hottest(profiles),
      };
      say(`methods: ${name}: ${JSON.stringify(results[name])}`);
    } finally {
      close();
      rmSync(profiles, { recursive: true, force: true });
      await arena.close();
    }
  }
  return { methods: results };
}
