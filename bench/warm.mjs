// `npm run bench:warm`: one worker that serves twenty models and has room for few, against the same worker
// that takes jobs in the order in which they come. What decides is `nextSwap` of the sources; jobs and loads
// are played (`test/support/simulated-turns.ts`), so that the same seed gives the same figures everywhere. It
// writes `bench/warm.md`.
import { importSource } from '../scripts/import-source.mjs';
import { writePage } from './overload/page.mjs';
import { seeded } from './overload/seeded.mjs';

const { playInOrder, playTurns } = await importSource({
  entryPoints: [new URL('../test/support/simulated-turns.ts', import.meta.url).pathname],
});

const MODELS = 20;
const PLACES = 4;
const FOR_MS = 900_000;
const MEAN_MS = 1_000;
const SEEDS = [1, 2, 3];
/** Room for so many models, and jobs at this part of what so many do without any load. */
const CASES = [
  { resident: 1, load: 0.3 },
  { resident: 1, load: 0.6 },
  { resident: 3, load: 0.3 },
  { resident: 3, load: 0.6 },
];
const GOAL = 0.9;

/** Jobs of a second or so, the third model asked for a third as often as the first, and so on. */
function traceOf(seed, { resident, load }) {
  const random = seeded(seed);
  const names = Array.from({ length: MODELS }, (_, at) => `model-${at + 1}`);
  // From what is read in two seconds to what takes twenty.
  const coldMs = new Map(names.map((name) => [name, 2_000 + Math.floor(random() * 18_000)]));
  const all = names.reduce((sum, _, at) => sum + 1 / (at + 1), 0);
  const drawn = () => {
    let left = random() * all;
    return names.find((_, at) => (left -= 1 / (at + 1)) <= 0) ?? names[0];
  };
  const trace = [];
  const everyMs = MEAN_MS / (load * PLACES * resident);
  for (let atMs = 0; atMs < FOR_MS; atMs -= Math.log(1 - random()) * everyMs)
    trace.push({ atMs, model: drawn(), tookMs: MEAN_MS * (0.25 + 1.5 * random()) });
  return [trace, { coldMs, resident, places: PLACES }];
}

function figuresOf({ loads, waitsMs, mostLoaded }) {
  const sorted = waitsMs.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))] / 1_000;
  return { loads, p50: at(0.5), p99: at(0.99), mostLoaded };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const seconds = (of, runs) => mean(runs.map(of)).toFixed(1);

const rows = CASES.map((one) => {
  const runs = SEEDS.map((seed) => {
    const [trace, worker] = traceOf(seed, one);
    const run = {
      jobs: trace.length,
      turns: figuresOf(playTurns(trace, worker)),
      order: figuresOf(playInOrder(trace, worker)),
    };
    if (Math.max(run.turns.mostLoaded, run.order.mostLoaded) > one.resident)
      throw new Error('More was loaded than fits.');
    console.error(JSON.stringify({ ...one, seed, ...run }));
    return run;
  });
  const saved = Math.min(...runs.map(({ turns, order }) => 1 - turns.loads / order.loads));
  return { ...one, runs, saved };
});

const missed = rows.filter(({ saved }) => saved < GOAL);
const lineOf = ({ resident, load, runs, saved }) => {
  const [jobs, turns, order] = [
    mean(runs.map(({ jobs: count }) => count)),
    mean(runs.map((run) => run.turns.loads)),
    mean(runs.map((run) => run.order.loads)),
  ];
  return [
    resident,
    load,
    Math.round(jobs).toLocaleString('en'),
    `${Math.round(turns).toLocaleString('en')} / ${Math.round(order).toLocaleString('en')}`,
    `−${(100 * saved).toFixed(1)} %`,
    `${seconds((run) => run.turns.p50, runs)} / ${seconds((run) => run.order.p50, runs)}`,
    `${seconds((run) => run.turns.p99, runs)} / ${seconds((run) => run.order.p99, runs)}`,
  ].join(' | ');
};

await writePage('warm.md', [
  '# Twenty models, and room for few',
  'What decides is `src/core/execution/swap-choice.ts` itself; jobs and loads are played. `npm run bench:warm` ' +
    'writes this page anew, from the same seeds with the same outcome; do not edit. A quarter of an hour of jobs of a second ' +
    'on average, in four places for each model that is loaded, of twenty models of which the n-th is asked for ' +
    'an n-th as often as the first, and whose loads take 2 to 20 s. The load is the part of what the places can do ' +
    'without any load of a model. Figures are ours against the order in which the jobs come, where the model that ' +
    'was not used for longest makes room: means of three seeds, and of the loads that are saved the least of ' +
    'the three.',
  [
    '| room for | load | jobs | loads | saved | wait p50, s | wait p99, s |',
    '| ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...rows.map((row) => `| ${lineOf(row)} |`),
  ].join('\n'),
  missed.length === 0
    ? 'The goal, nine loads of ten saved, is met in all of them.'
    : `The goal, nine loads of ten saved, is **missed** with ${missed.map(({ resident, load }) => `room for ${resident} at a load of ${load}`).join(', ')}.`,
  'In the order of the jobs, the loads are the wait: nearly each job waits for one, and the queue grows for as ' +
    'long as jobs come.',
]);
