// Writes the table of metrics into docs/metrics.md from src/ground/metrics/metric-table.ts; `--check` fails
// where it is not current. It reads the sources and needs no build.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { importSource } from './import-source.mjs';
import { ensureInstalled, root } from './setup.mjs';

await ensureInstalled(() => undefined);
const DOCUMENT = join(root, 'docs', 'metrics.md');

const { METRIC_TABLE } = await importSource({
  entryPoints: [join(root, 'src', 'ground', 'metrics', 'metric-table.ts')],
});

function rowOf([name, { kind, help, labels = {}, of }]) {
  const places = of === 'shard' ? '`/metrics/shard`' : of.map((role) => `\`${role}\``).join(', ');
  const words = Object.entries(labels).map(([label, meaning]) => `\`${label}\`: ${meaning}`);
  return `| \`${name}\` | ${kind} | ${places} | ${[help, ...words].join('; ')} |`;
}

const table = `| metric | kind | served by | measures |\n| - | - | - | - |\n${Object.entries(METRIC_TABLE).map(rowOf).join('\n')}`;
const text = readFileSync(DOCUMENT, 'utf8');
const generated = text.replace(
  /(<!-- metrics -->\n)[\s\S]*?(<!-- \/metrics -->)/,
  (_, begin, end) => `${begin}\n${table}\n\n${end}`,
);
const next = await format(generated, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT });
if (!process.argv.includes('--check')) writeFileSync(DOCUMENT, next);
else if (next !== text) {
  process.stderr.write('error: docs/metrics.md is not current\nhint: node scripts/metric-table.mjs\n');
  process.exitCode = 1;
}
