// 10,000 workers and 1,000 tenants, simulated: a day with its night and its noon, and a crowd that comes at
// once. What decides is the code of `src/core/forecast`, read from the sources; the simulation is that of
// `test/support/simulated-pool.ts`.
import { importSource } from '../../scripts/import-source.mjs';
import { seeded } from './seeded.mjs';
import { writeSimulation } from './simulation-report.mjs';

const root = new URL('../..', import.meta.url).pathname;
const { SimulatedPool, meanServiceMs } = await importSource({
  stdin: {
    contents: `export { SimulatedPool } from './test/support/simulated-pool.ts';
      export { meanServiceMs } from './test/support/simulated-tenants.ts';`,
    resolveDir: root,
  },
});

const TENANTS = 1_000;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const WEIGHTS = [1, 1, 1, 1, 2, 2, 4, 8];

/** Tenants of whom a few ask for much: their rates (per second) together are what all slots can do. */
function tenantsOf({ seed, workers, deadlineMs, timesLonger, sends }) {
  const random = seeded(seed);
  const tenants = Array.from({ length: TENANTS }, (_, at) => {
    const tokens = [64, 256][Math.floor(random() * 2)];
    const kind = { sizes: [tokens, tokens * 4], share: 0.1 + 0.6 * random() };
    const own = meanServiceMs(kind) * timesLonger;
    return {
      name: `tenant-${at}`,
      weight: WEIGHTS[Math.floor(random() * WEIGHTS.length)],
      ...kind,
      deadlineMs,
      own,
      sends,
    };
  });
  const wanted = tenants.map((_, at) => (0.5 + random()) / (at + 20) ** 0.7);
  const all = wanted.reduce((sum, want) => sum + want, 0);
  return tenants.map((tenant, at) => ({ ...tenant, rate: (wanted[at] / all) * ((workers * SECOND) / tenant.own) }));
}

/** Marks who stays within its share where all ask for as much as they ever do. */
function withInnocents(tenants, workers) {
  const want = tenants.map(({ rate, own }) => (rate * own) / (workers * SECOND));
  let [open, left] = [tenants.map((_, at) => at), 1];
  for (;;) {
    const weights = open.reduce((sum, at) => sum + tenants[at].weight, 0);
    const content = open.filter((at) => want[at] <= (left * tenants[at].weight) / weights);
    if (content.length === 0) {
      const fair = left / weights;
      return tenants.map((tenant, at) => ({ ...tenant, isInnocent: want[at] < 0.8 * fair * tenant.weight }));
    }
    for (const at of content) left -= want[at];
    open = open.filter((at) => !content.includes(at));
    if (open.length === 0) return tenants.map((tenant) => ({ ...tenant, isInnocent: true }));
  }
}

/** A day: a third of what the workers can do at night, a third more than that at its peak. */
function day({ seed, workers }) {
  const forMs = 24 * HOUR;
  const loadAt = (atMs) => 0.83 - 0.5 * Math.cos((2 * Math.PI * atMs) / forMs);
  const peak = 1.33;
  const timesLonger = 8_000;
  const tenants = tenantsOf({ seed, workers, deadlineMs: 4 * HOUR, timesLonger, sends: (atMs) => loadAt(atMs) / peak });
  const offered = withInnocents(
    tenants.map((tenant) => ({ ...tenant, rate: tenant.rate * peak })),
    workers,
  );
  const looks = { readEveryMs: 10 * SECOND, sampleMs: 10 * MINUTE };
  return { tenants: offered, seed, slots: workers, timesLonger, ...looks, warmMs: HOUR, forMs };
}

/** A crowd: half of what the workers can do, and 300 new tenants with five times as much for a while. */
function crowd({ seed, workers }) {
  const [fromMs, toMs, forMs] = [60, 90, 180].map((seconds) => seconds * SECOND);
  const timesLonger = 30;
  const deadlineMs = 50 * SECOND;
  const quiet = tenantsOf({ seed, workers, deadlineMs, timesLonger }).slice(0, 700);
  const had = quiet.reduce((sum, { rate, own }) => sum + rate * own, 0) / (workers * SECOND);
  const steady = quiet.map((tenant) => ({ ...tenant, rate: (tenant.rate * 0.5) / had }));
  const kind = { sizes: [256, 1_024], share: 0.4 };
  const own = meanServiceMs(kind) * timesLonger;
  const inCrowd = (atMs) => (atMs >= fromMs && atMs < toMs ? 1 : 0);
  const newcomers = Array.from({ length: 300 }, (_, at) => ({
    name: `new-${at}`,
    weight: 1,
    ...kind,
    deadlineMs,
    rate: (5 * ((workers * SECOND) / own)) / 300,
    sends: inCrowd,
  }));
  const fair = 1 / [...steady, ...newcomers].reduce((sum, { weight }) => sum + weight, 0);
  // While the crowd is there, who is within its share is who asks for less than its weight in all weights.
  const tenants = [
    ...steady.map((tenant) => ({
      ...tenant,
      isInnocent: (tenant.rate * tenant.own) / (workers * SECOND) < 0.8 * fair * tenant.weight,
    })),
    ...newcomers,
  ];
  return { tenants, seed, slots: workers, timesLonger, readEveryMs: 200, sampleMs: SECOND, warmMs: 15 * SECOND, forMs };
}

/** Runs both, a tenth as large where it is to be `quick`; returns outcomes, and how long each took. */
export function simulate({ quick, seed = 1 }, say) {
  const workers = quick ? 1_000 : 10_000;
  return Object.fromEntries(
    Object.entries({ day, crowd }).map(([name, make]) => {
      const began = performance.now();
      const simulation = make({ seed, workers });
      const outcome = new SimulatedPool(simulation).run();
      const innocents = simulation.tenants.filter(({ isInnocent }) => isInnocent).length;
      const tookS = (performance.now() - began) / 1_000;
      const { series: _, ...figures } = outcome;
      say(`simulation ${name}: ${JSON.stringify({ ...figures, innocents, tookS })}`);
      return [name, { ...outcome, workers, tenants: simulation.tenants.length, innocents, tookS }];
    }),
  );
}

if (process.argv[1]?.endsWith('simulation.mjs')) {
  const quick = process.argv.includes('--quick');
  const outcomes = simulate({ quick }, console.error);
  if (!quick) await writeSimulation(outcomes);
}
