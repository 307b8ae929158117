// Writes deploy/grafana/countersign.json, a dashboard with a panel for each metric, from the table of
// metrics; `--check` fails where it is not current. It reads the sources and needs no build.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { importSource } from './import-source.mjs';
import { ensureInstalled, root } from './setup.mjs';

await ensureInstalled(() => undefined);
const DASHBOARD = join(root, 'deploy', 'grafana', 'countersign.json');

const { METRIC_TABLE } = await importSource({
  entryPoints: [join(root, 'src', 'ground', 'metrics', 'metric-table.ts')],
});

/** Rows in the order in which an operator reads them; a metric stands in the first whose words it has. */
const ROWS = [
  [
    'Work and who does it',
    /consuming|queue_waiting|fairness|models_away|models?_loaded|model_loads|engine_failures|open_jobs|pool_state|job_ends|worker_commits|lost_leases/,
  ],
  ['How long jobs take', /^countersign_job_\w+_seconds$/],
  ['Confirming and the log', /attestation|unconfirmed|recompute|stuck|checkpoint|witness/],
  ['HTTP', /http|refusals|event_streams/],
  ['Books, payments, webhooks, schedules', /unentered|kept|unsettled|webhook|schedule/],
  ['Proxy', /proxy/],
  ['GPUs', /_gpu_/],
  ['Processes', /./],
];
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const [WIDTH, HEIGHT, IN_A_ROW] = [8, 7, 3];

/** What is asked of a metric, and what each line is called. */
function targetsOf(name, { kind, labels = {}, of }) {
  const by = Object.keys(labels);
  const grouped = by.length === 0 ? '' : ` by (${by.join(', ')})`;
  const legend = by.length === 0 ? name.replace(/^countersign_/, '') : by.map((label) => `{{${label}}}`).join(' ');
  if (kind === 'histogram')
    return [0.5, 0.95, 0.99].map((share) => [
      `histogram_quantile(${share}, sum by (le) (rate(${name}_bucket[$__rate_interval])))`,
      `p${share * 100}`,
    ]);
  if (kind === 'counter') return [[`sum${grouped} (rate(${name}[$__rate_interval]))`, legend]];
  // Every instance of the API tells the same of the shard; of processes, the one that stands worst is shown.
  if (of === 'shard') return [[`max${grouped} (${name})`, legend]];
  return [[name, ['{{job}} {{instance}}', ...by.map((label) => `{{${label}}}`)].join(' ')]];
}

const unitOf = (name, kind) => (kind === 'counter' ? 'ops' : name.endsWith('_seconds') ? 's' : 'short');

function panelOf([name, metric], id, x, y) {
  return {
    id,
    type: 'timeseries',
    title: metric.help,
    description: `\`${name}\``,
    datasource: DATASOURCE,
    gridPos: { x, y, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit: unitOf(name, metric.kind), min: 0 }, overrides: [] },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
    targets: targetsOf(name, metric).map(([expr, legendFormat], at) => ({
      refId: String.fromCharCode(65 + at),
      datasource: DATASOURCE,
      expr,
      legendFormat,
    })),
  };
}

function panels() {
  const left = new Map(Object.entries(METRIC_TABLE));
  const made = [];
  let [id, y] = [0, 0];
  for (const [title, words] of ROWS) {
    const own = [...left].filter(([name]) => words.test(name));
    for (const [name] of own) left.delete(name);
    made.push({ id: (id += 1), type: 'row', title, collapsed: false, gridPos: { x: 0, y, w: 24, h: 1 }, panels: [] });
    for (const [at, entry] of own.entries())
      made.push(panelOf(entry, (id += 1), (at % IN_A_ROW) * WIDTH, y + 1 + Math.floor(at / IN_A_ROW) * HEIGHT));
    y += 1 + Math.ceil(own.length / IN_A_ROW) * HEIGHT;
  }
  return made;
}

const dashboard = {
  uid: 'countersign',
  title: 'Countersign',
  description: 'Made by scripts/grafana-dashboards.mjs from the table of metrics. Edit a copy.',
  tags: ['countersign'],
  schemaVersion: 39,
  editable: true,
  graphTooltip: 1,
  refresh: '30s',
  time: { from: 'now-6h', to: 'now' },
  templating: {
    list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Prometheus', hide: 0 }],
  },
  annotations: { list: [] },
  panels: panels(),
};
const text = await format(JSON.stringify(dashboard), { ...(await resolveConfig(DASHBOARD)), filepath: DASHBOARD });
if (!process.argv.includes('--check')) {
  mkdirSync(dirname(DASHBOARD), { recursive: true });
  writeFileSync(DASHBOARD, text);
} else if (!existsSync(DASHBOARD) || readFileSync(DASHBOARD, 'utf8') !== text) {
  process.stderr.write(
    'error: deploy/grafana/countersign.json is not current\nhint: node scripts/grafana-dashboards.mjs\n',
  );
  process.exitCode = 1;
}
