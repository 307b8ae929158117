// `bench/simulation.md` and its plots, of what the simulation came to.
import { shown, writePage, writePlots } from './page.mjs';
import { linePlot } from './svg.mjs';

const HOUR = 3_600_000;
const SECOND = 1_000;
const percent = (value) => `${(100 * value).toFixed(2)} %`;

function poolPlot(title, { series }, unitMs, x) {
  const line = (name, value) => ({ name, points: series.map((row) => [row.atMs / unitMs, value(row)]) });
  return linePlot({
    title,
    x,
    y: 'jobs',
    lines: [line('places', (row) => row.slots), line('run', (row) => row.running), line('wait', (row) => row.waiting)],
  });
}

function decisionPlot(title, { series }, unitMs, x) {
  const everyMs = series[1].atMs - series[0].atMs;
  const line = (name) => ({
    name,
    points: series.map((row) => [row.atMs / unitMs, (row[name] * SECOND) / everyMs]),
  });
  return linePlot({ title, x, y: 'jobs a second', lines: [line('admitted'), line('refused'), line('missed')] });
}

/** Which of the goals these figures miss. */
function misses(outcomes) {
  const missed = Object.entries(outcomes).flatMap(([name, one]) => [
    ...(one.missed > 0.01 * one.admitted ? [`${name}: more than 1 % of the admitted were late`] : []),
    ...(one.innocentRefused > 0
      ? [
          `${name}: ${percent(one.innocentRefused / one.innocentOffered)} of what tenants within their share sent was refused`,
        ]
      : []),
    ...(one.waitError > 0.2 ? [`${name}: the predicted wait is more than 20 % off in the median`] : []),
    ...(one.covered < 0.65 ? [`${name}: fewer than 65 % of the 80 % intervals held`] : []),
  ]);
  return missed.length === 0 ? 'All goals are held.' : `Goals that are **missed**: ${missed.join('; ')}.`;
}

export async function writeSimulation({ day, crowd }) {
  writePlots({
    'day-pool.svg': poolPlot('A day', day, HOUR, 'hours'),
    'day-decisions.svg': decisionPlot('A day: what was decided', day, HOUR, 'hours'),
    'crowd-pool.svg': poolPlot('A crowd', crowd, SECOND, 'seconds'),
    'crowd-decisions.svg': decisionPlot('A crowd: what was decided', crowd, SECOND, 'seconds'),
  });
  const row = (name, one) =>
    `| ${name} | ${one.admitted.toLocaleString('en-US')} | ${percent(one.refused / one.attempts)} | ${one.goodput.toFixed(3)} | ${percent(one.missed / one.admitted)} | ${one.innocentRefused} of ${one.innocentOffered.toLocaleString('en-US')} | ${percent(one.waitError)} | ${percent(one.covered)} |`;
  await writePage('simulation.md', [
    `# ${day.workers.toLocaleString('en-US')} workers and ${day.tenants.toLocaleString('en-US')} tenants, simulated`,
    'What decides is the code of `src/core/forecast` itself; what is simulated is what Redis and workers do (`test/support/simulated-pool.ts`). `node bench/overload/simulation.mjs` writes this page anew, from the same seed with the same outcome; do not edit. The day goes from a third of what the workers can do to a third more than that, with jobs of a quarter of an hour and deadlines of four hours; the crowd is 300 new tenants with five times that for 30 s, beside 700 that ask for half of it, with jobs of some seconds and deadlines of 50 s.',
    `| | admitted | refused | goodput | missed | innocents refused | wait error | covered |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n${row('a day', day)}\n${row('a crowd', crowd)}`,
    misses({ day, crowd }),
    'Here the goodput is what was asked for where that is less than capacity. Who is innocent asks for less than four fifths of its share at the worst moment.',
    `${shown('the day', 'day-pool.svg')} ${shown('decisions of the day', 'day-decisions.svg')}`,
    `${shown('the crowd', 'crowd-pool.svg')} ${shown('decisions of the crowd', 'crowd-decisions.svg')}`,
    'Of the arithmetic, these parts are written in Lua alone, and the simulation follows them by hand: start tags and what a flow is charged (`fair-place.lua`), the room that a release fills and its pace (`release.lua`), packs, and debts of turns. What `admit.lua` decides is `excessOf` in `admission-limits.ts`, in both.',
  ]);
}
