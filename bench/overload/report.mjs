// `bench/overload.md` and its plots, of what was measured. A figure that misses its goal is said to miss it.
import { expectedAt } from './figures.mjs';
import { shown, writePage, writePlots } from './page.mjs';
import { linePlot, scatterPlot } from './svg.mjs';
import { shareOfOne } from './trace.mjs';

function median(values) {
  const sorted = values.filter(Number.isFinite).toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return sorted.length === 0 ? NaN : (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}
const part = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits) : '-');
const percent = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : '-');
const ms = (value) => (Number.isFinite(value) ? `${Math.round(value).toLocaleString('en-US')} ms` : '-');
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** The median of a figure over the seeds of a scenario. */
const of = (rows, name, figure) => median(rows.filter((row) => row.name === name).map((row) => row[figure]));
const sum = (rows, name, figure) => rows.filter((row) => row.name === name).reduce((all, row) => all + row[figure], 0);

const LABELS = {
  0.9: '0.9 of capacity',
  2: '2 times',
  5: '5 times',
  10: '10 times',
  equal: '5 times, equal weights',
  obey: '3 times, Retry-After obeyed',
  repeat: '3 times, tried again unasked',
  crowd: 'half, and a crowd of 10 times for 10 s',
};
const ORDER = Object.keys(LABELS).toSorted((a, b) => Number(a) - Number(b) || 0);

/** What is demanded, each with the figure and whether it holds. */
function goals({ admission: rows, busy = [], flood }, expected) {
  const overloads = ['2', '5', '10', 'crowd'].filter((name) => rows.some((row) => row.name === name));
  const worst = (figure, pick, names = overloads) =>
    pick(...names.map((name) => of(rows, name, figure)).filter(Number.isFinite));
  const goal = (what, value, shown, holds) =>
    Number.isFinite(value) ? [what, shown, holds ? 'held' : '**missed**'] : undefined;
  const floods = ['2', '5', '10'].filter((name) => rows.some((row) => row.name === name));
  const goodput = worst('goodput', Math.min, floods);
  const ratio = worst('p99', Math.max, floods) / of(rows, '0.9', 'p99');
  const missed = worst('missed', Math.max);
  const vain = worst('vain', Math.max);
  const wait = worst('waitError', Math.max);
  const covered = floods.map((name) => of(rows, name, 'covered'));
  const refusal = worst('refusalP99', Math.max);
  const jain = worst(
    'jain',
    Math.min,
    [...floods, 'equal'].filter((name) => rows.some((row) => row.name === name)),
  );
  const innocents = overloads.reduce((all, name) => all + sum(rows, name, 'innocentRefused'), 0);
  const offered = overloads.reduce((all, name) => all + sum(rows, name, 'innocentOffered'), 0);
  const recovery = of(rows, 'crowd', 'recoveryMs');
  const quiet = flood === undefined ? NaN : flood.beside.p99 / flood.alone.p99;
  const p50 = of(rows, '0.9', 'p50') / expected.serviceP50;
  return [
    goal('goodput at 2, 5 and 10 times ≥ 0.95 of capacity', goodput, part(goodput), goodput >= 0.95),
    goal('p99 of admitted ≤ 1.5 of that at 0.9', ratio, part(ratio, 2), ratio <= 1.5),
    goal('missed among admitted ≤ 1 %', missed, percent(missed), missed <= 0.01),
    goal('engine time in vain ≤ 1 %', vain, percent(vain), vain <= 0.01),
    goal('nobody within its share refused', offered, `${innocents} of ${offered}`, innocents === 0),
    goal('median error of the predicted wait ≤ 20 %', wait, percent(wait), wait <= 0.2),
    goal(
      '80 % intervals hold 80 ± 5 % in steady load',
      median(covered),
      covered.map((value) => percent(value)).join(', '),
      covered.every((value) => Math.abs(value - 0.8) <= 0.05),
    ),
    goal('p99 of refusals ≤ 50 ms', refusal, ms(refusal), refusal <= 50),
    goal('Jain by weight ≥ 0.98', jain, part(jain), jain >= 0.98),
    goal('quiet tenant beside a flood: p99 ≤ 1.2 of alone', quiet, part(quiet, 2), quiet <= 1.2),
    goal('recovery after the crowd ≤ 2 s', recovery, ms(recovery), recovery <= 2_000),
    goal('p50 at 0.9 ≤ 1.5 of the service time', p50, part(p50, 2), p50 <= 1.5),
    ...busy.map(({ name, busy: share, goal: least }) =>
      goal(`engines.busy, ${name}, ≥ ${least}`, share, part(share), share >= least),
    ),
  ].filter((row) => row !== undefined);
}

function sweepTable(rows) {
  return table(
    [
      'offered',
      'goodput',
      'engines busy',
      'missed',
      'in vain',
      'innocents refused',
      'p50',
      'p99',
      'refused',
      'refusal p99',
      'Jain',
      'wait error',
      'covered',
    ],
    ORDER.filter((name) => rows.some((row) => row.name === name)).map((name) => [
      LABELS[name],
      part(of(rows, name, 'goodput')),
      part(of(rows, name, 'busy')),
      percent(of(rows, name, 'missed')),
      percent(of(rows, name, 'vain')),
      `${sum(rows, name, 'innocentRefused')} of ${sum(rows, name, 'innocentOffered')}`,
      ms(of(rows, name, 'p50')),
      ms(of(rows, name, 'p99')),
      percent(sum(rows, name, 'refused') / sum(rows, name, 'attempts')),
      ms(of(rows, name, 'refusalP99')),
      part(of(rows, name, 'jain')),
      percent(of(rows, name, 'waitError')),
      percent(of(rows, name, 'covered')),
    ]),
  );
}

const machineTable = (rows) =>
  table(
    ['run', 'cores that ours used', 'machine busy', 'load average', 'requests sent late, p99'],
    rows.map((row) => [
      `${LABELS[row.name]}${row.side ?? ''}, seed ${row.seed}`,
      part(row.cores, 2),
      percent(row.machineBusy),
      part(row.loadAverage, 1),
      ms(row.lagP99),
    ]),
  );

function drawPlots({ admission: rows, control }) {
  const loads = ['0.9', '2', '5', '10'].filter((name) => rows.some((row) => row.name === name));
  const line = (name, side, figure, factor = 1) => ({
    name,
    points: loads
      .filter((at) => side.some((row) => row.name === at))
      .map((at) => [Number(at), factor * of(side, at, figure)]),
  });
  const crowd = [rows, control].map((side) => side.find(({ name }) => name === 'crowd')?.open ?? []);
  const told = rows.filter(({ name }) => ['2', '5', '10'].includes(name)).flatMap((row) => row.told);
  const most = Math.max(1, ...told.map(([, tookMs]) => tookMs)) / 1_000;
  writePlots({
    'goodput.svg': linePlot({
      title: 'Goodput',
      x: 'offered, in parts of capacity',
      y: 'share of capacity',
      mostY: 1.1,
      dots: true,
      lines: [line('admission', rows, 'goodput'), line('control', control, 'goodput')],
    }),
    'latency.svg': linePlot({
      title: 'What admitted jobs take',
      x: 'offered, in parts of capacity',
      y: 'seconds',
      dots: true,
      lines: [
        line('p50', rows, 'p50', 1e-3),
        line('p99', rows, 'p99', 1e-3),
        line('p99 of the control', control, 'p99', 1e-3),
      ],
    }),
    'crowd.svg': linePlot({
      title: 'Jobs accepted and not ended, around a crowd',
      x: 'seconds',
      y: 'jobs',
      lines: [
        { name: 'admission', points: crowd[0] },
        { name: 'control', points: crowd[1] },
      ],
    }),
    'told.svg': scatterPlot({
      title: 'When jobs were told to end, and when they did (2, 5 and 10 times)',
      x: 'told, p50 (s)',
      y: 'ended (s)',
      most,
      points: told.map(([said, took]) => [said / 1_000, took / 1_000]),
    }),
  });
}

export async function writeReport(results) {
  const { settings, admission: rows, control, busy, flood, machine, commit, when, command } = results;
  drawPlots(results);
  const perSecond = (settings.workers * settings.parallel * 1_000) / settings.serviceMs;
  const steady = settings.steadyPerMinute / 60;
  const jobs = rows.filter(({ name }) => name === '0.9').flatMap((row) => row.jobs);
  const slots = settings.workers * settings.parallel;
  const expected = expectedAt(0.9, slots, jobs.length === 0 ? [settings.serviceMs] : jobs);
  await writePage('overload.md', [
    '# What happens under overload',
    `Written by \`${command}\` (${when}, commit ${commit}, ${machine}); do not edit. Medians over ${settings.seeds === 1 ? 'one seed' : `${settings.seeds} seeds`}.`,
    `${settings.workers} workers with ${settings.parallel} places each, jobs of ${settings.serviceMs} ms (lognormal, two sizes: 0.4 and 1.6 of it), so ${perSecond.toFixed(0)} jobs/s at most; deadlines of ${settings.deadlineMs / 1_000} s; four tenants of weights 1, 1, 2 and 4, and a steady one of ${part(60 * steady, 0)} a minute, which is ${percent(steady / shareOfOne(perSecond))} of its share, that may never be refused. ${settings.windowMs / 1_000} s are measured after a warm-up of ${settings.warmMs / 1_000} s. The loop is open: its generator, the engine, the API, the workers, the attestor and Redis are processes of their own, and jobs go over HTTP. Refused clients leave, unless it says otherwise.`,
    ...starved([...rows, ...control]),
    '## Goals',
    table(['goal', 'figure', ''], goals(results, expected)),
    '## Load sweep',
    sweepTable(rows),
    "*Goodput* is the share of the engines' time that went to answers in time; *in vain* the share of their work that went to others; *wait error* the median of |told − true| ÷ true of the time to begin, of jobs that waited longer than a mean job takes; *covered* the share of jobs that ended within the 80 % interval that they were told.",
    `${shown('goodput', 'goodput.svg')} ${shown('latency', 'latency.svg')}`,
    `${shown('crowd', 'crowd.svg')} ${shown('told', 'told.svg')}`,
    ...(control.length === 0 ? [] : ['## The control, which admits everything', sweepTable(control)]),
    '## At 0.9 of capacity, against M/M/c',
    `An M/M/${slots} queue at 0.9 makes ${percent(expected.waits)} of jobs wait; its waits and the jobs' own times together give p50 ${ms(expected.p50)} and p99 ${ms(expected.p99)}. Measured: p50 ${ms(of(rows, '0.9', 'p50'))}, p99 ${ms(of(rows, '0.9', 'p99'))}. A run of ${settings.windowMs / 1_000} s has few busy periods: single runs lie far from what is expected of endless ones.`,
    ...(busy === undefined ? [] : ['## Engines with a backlog', busyTable(busy)]),
    ...(flood === undefined ? [] : ['## A quiet tenant beside a flood', floodText(flood)]),
    '## The machine',
    "What the figures above are worth depends on what else ran. Where the machine was busy throughout, processes waited for a core, and what is missed may be the machine's fault.",
    machineTable([...rows, ...control.map((row) => ({ ...row, side: ', control' }))]),
  ]);
}

/** What is to be said first where the machine had no core left for what was measured. */
function starved(rows) {
  const busyShare = median(rows.map(({ machineBusy }) => machineBusy));
  if (!(busyShare > 0.9)) return [];
  const [load, cores] = ['loadAverage', 'cores'].map((figure) => median(rows.map((row) => row[figure])));
  return [
    `**The machine was ${percent(busyShare)} busy, with a load average of ${part(load, 0)}; what is measured here got ${part(cores, 1)} cores of it. These figures say what an installation does that hardly gets to run, and not what the service can do.**`,
  ];
}

const busyTable = (busy) =>
  table(
    ['engines', 'busy', 'jobs/s', 'an answer took', 'cores that ours used', 'still waited'],
    busy.map(({ name, busy: share, perSecond, tookMs, cores, waiting }) => [
      name,
      part(share),
      part(perSecond, 0),
      `${part(tookMs, 1)} ms`,
      part(cores, 2),
      waiting,
    ]),
  );

const floodText = ({ flood, refused, waiting, bytesPerWaiting, alone, beside }) =>
  `${flood.toLocaleString('en-US')} jobs of another tenant with an hour each, ${refused} of them refused, ${waiting.toLocaleString('en-US')} waiting when it began: p50 ${ms(beside.p50)} and p99 ${ms(beside.p99)}, alone ${ms(alone.p50)} and ${ms(alone.p99)}. A waiting job takes ${Math.round(bytesPerWaiting).toLocaleString('en-US')} bytes in Redis.`;
