// Writes the table of variables in README.md from the schemas; `--check` fails where the table is not
// current.
import { readFileSync, writeFileSync } from 'node:fs';
import { ensureBuilt, ensureInstalled, root } from './setup.mjs';

ensureInstalled(() => undefined);
ensureBuilt(() => undefined);
const roles = ['api', 'worker', 'attestor', 'courier'];
const rows = new Map();
for (const role of roles) {
  const module = await import(new URL(`../dist/roles/${role}/${role}-config.js`, import.meta.url).href);
  const schema = module[`${role[0].toUpperCase()}${role.slice(1)}Config`];
  for (const [name, field] of Object.entries(schema.shape)) {
    const parsed = field.safeParse(undefined);
    const fallback = parsed.success ? (parsed.data === undefined ? '' : `\`${parsed.data}\``) : 'required';
    const row = rows.get(name) ?? {
      fallback,
      description: field.description ?? field.unwrap?.().description ?? '',
      roles: [],
    };
    row.roles.push(role);
    rows.set(name, row);
  }
}
const table = [
  '| variable | roles | default | meaning |',
  '| --- | --- | --- | --- |',
  ...[...rows].map(([name, row]) => `| \`${name}\` | ${row.roles.join(', ')} | ${row.fallback} | ${row.description} |`),
].join('\n');
const path = `${root}README.md`;
const text = readFileSync(path, 'utf8');
const next = text.replace(/(<!-- config -->\n)[\s\S]*?(<!-- \/config -->)/, `$1\n${table}\n\n$2`);
if (process.argv.includes('--check')) {
  const plain = (value) => value.replace(/[ -]+/g, ' ');
  if (plain(next) !== plain(text)) {
    process.stderr.write(
      'error: the table of variables in README.md is not current\nhint: node scripts/config-table.mjs\n',
    );
    process.exit(1);
  }
} else writeFileSync(path, next);
