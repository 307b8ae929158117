// `npm run bench:overload`: what the service does when more is asked than it can do. It writes
// `bench/overload.md` and its plots; README.md beside this file says what is measured.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { measureBusy } from './overload/busy.mjs';
import { figuresOf, openOver, recoveredAfter } from './overload/figures.mjs';
import { measureFlood } from './overload/flood.mjs';
import { offer, openPool } from './overload/pool.mjs';
import { writeReport } from './overload/report.mjs';
import { readOptions } from './options.mjs';
import { steadyRate, traceOf } from './overload/trace.mjs';

const asked = readOptions(
  'npm run bench:overload [-- --quick] [--seeds 3] [--service MS] [--deadline S] [--warm S] [--window S] ' +
    '[--flood JOBS] [--only NAME,…] [--json FILE] [--from FILE]',
  {
    words: ['seeds', 'service', 'deadline', 'warm', 'window', 'flood', 'only', 'json', 'from'],
    flags: ['quick'],
  },
);
// What runs here ends with this process, which a signal alone would leave alone.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
const quick = asked.quick === true;
const say = (line) => process.stderr.write(`${line}\n`);
const settings = {
  quick,
  seeds: Number(asked.seeds ?? (quick ? 1 : 3)),
  serviceMs: Number(asked.service ?? 400),
  deadlineMs: Number(asked.deadline ?? 5) * 1_000,
  warmMs: Number(asked.warm ?? (quick ? 5 : 15)) * 1_000,
  windowMs: Number(asked.window ?? (quick ? 10 : 60)) * 1_000,
  workers: 2,
  parallel: 8,
  flood: Number(asked.flood ?? (quick ? 2_000 : 100_000)),
};
const only = asked.only?.split(',');
const wants = (name) => only === undefined || only.includes(name);

/** What is offered, by name: a load, who offers it, and what refused clients do. */
const SCENARIOS = {
  0.9: { load: 0.9 },
  2: { load: 2 },
  5: { load: 5 },
  10: { load: 10 },
  equal: { load: 5, kind: 'equal' },
  obey: { load: 3, clients: 'obey' },
  repeat: { load: 3, clients: 'repeat' },
  crowd: { load: 0.5, crowd: { load: 10, fromMs: 5_000, toMs: 15_000 } },
};
/** The control takes part in these, with the first seed. */
const CONTROLLED = ['5', 'crowd'];

/** A crowd comes some time after the warm-up. */
function crowdOf({ crowd }) {
  if (crowd === undefined) return undefined;
  const { warmMs } = settings;
  return { load: crowd.load, fromMs: warmMs + crowd.fromMs, toMs: warmMs + crowd.toMs };
}

/** One scenario with one seed: its figures, and what plots need. */
async function measure(pool, name, seed) {
  const { load, kind = 'weighted', clients } = SCENARIOS[name];
  const { serviceMs, deadlineMs, warmMs, windowMs } = settings;
  const crowd = crowdOf(SCENARIOS[name]);
  const endMs = warmMs + windowMs;
  const trace = traceOf(kind, { load, serviceMs, slots: pool.slots, endMs, seed, crowd });
  const run = await offer(pool, { trace, deadlineMs, clients });
  const figures = figuresOf(run, { warmMs, endMs, serviceMs });
  const own = run.asked.filter(({ told, endedMs }) => told !== undefined && endedMs !== undefined);
  return {
    name,
    seed,
    ...figures,
    recoveryMs: crowd === undefined ? undefined : recoveredAfter(run, crowd.toMs),
    open: openOver(run, endMs + deadlineMs),
    told: own
      .filter((_, at) => at % Math.ceil(own.length / 400) === 0)
      .map(({ told, createdMs, endedMs }) => [Math.round(told.p50), endedMs - createdMs]),
    jobs: run.worked.map(([, beganMs, endedMs]) => Math.round(endedMs - beganMs)),
  };
}

function sayFigures(side, row) {
  const part = (value) => (Number.isFinite(value) ? value.toFixed(3) : '-');
  say(
    `${side} ${row.name} seed ${row.seed}: goodput ${part(row.goodput)}, missed ${part(row.missed)}, vain ${part(row.vain)}, p50 ${Math.round(row.p50)} ms, p99 ${Math.round(row.p99)} ms, innocents refused ${row.innocentRefused} of ${row.innocentOffered}, refusals p99 ${Math.round(row.refusalP99)} ms, wait error ${part(row.waitError)}, covered ${part(row.covered)}, Jain ${part(row.jain)}, failed ${row.failed}, ${row.cores.toFixed(2)} cores of ours, machine ${part(row.machineBusy)} busy`,
  );
}

async function runSide(side, seed, names) {
  const pool = await openPool({ ...settings, admits: side === 'admission' });
  try {
    for (const name of names) {
      results[side].push(await measure(pool, name, seed));
      sayFigures(side, results[side].at(-1));
      keep();
    }
  } finally {
    await pool.arena.close();
  }
}

const names = Object.keys(SCENARIOS).filter(wants);
const results = {
  settings: {
    ...settings,
    steadyPerMinute: 60 * steadyRate((settings.workers * settings.parallel * 1_000) / settings.serviceMs),
  },
  // Where somebody keeps the figures says nothing about them.
  command: ['npm run bench:overload --', ...process.argv.slice(2).filter((word) => word !== 'overload')]
    .join(' ')
    .replace(/ --json \S+/, ''),
  when: new Date().toISOString().slice(0, 10),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, Node ${process.versions.node}`,
  admission: [],
  control: [],
};
/** What was measured so far, for who breaks off. */
function keep() {
  const file = asked.json;
  if (file !== undefined) writeFileSync(file, JSON.stringify(results));
}

const from = asked.from;
if (from === undefined) {
  for (let seed = 1; seed <= settings.seeds; seed += 1) await runSide('admission', seed, names);
  const controlled = names.filter((name) => CONTROLLED.includes(name));
  if (controlled.length > 0) await runSide('control', 1, controlled);
  if (wants('busy')) results.busy = await measureBusy(settings, say);
  if (wants('flood')) results.flood = await measureFlood(settings, say);
} else Object.assign(results, JSON.parse(readFileSync(from, 'utf8')));
keep();
if (only === undefined || from !== undefined) await writeReport(results);
process.exit(0);
