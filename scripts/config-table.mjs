// Writes the variables of all roles into docs/configuration.md from their schemas; `--check` fails where it
// is not current. It reads the sources and needs no build, so that `npm run check` stays quick.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { importSource } from './import-source.mjs';
import { ensureInstalled, root } from './setup.mjs';

await ensureInstalled(() => undefined);
const ROLES = join(root, 'src', 'roles');
const DOCUMENT = join(root, 'docs', 'configuration.md');
/** In the order of the document; a role that is not named here stands behind these. */
const ORDER = ['api', 'courier', 'worker', 'gateway-worker', 'gateway', 'attestor', 'memory'];

/** Roles by another name than that of their schema. */
const NAMES = { 'gateway-worker': 'worker --gateway' };

/**
 * The schema of each role that has a `<role>-config.ts`, in its folder or in that of its kind, by its name.
 */
async function schemas() {
  const files = readdirSync(ROLES).flatMap((role) =>
    readdirSync(join(ROLES, role))
      .filter((file) => file.endsWith('-config.ts'))
      .map((file) => ({ role: file.slice(0, -'-config.ts'.length), path: `./${role}/${file}` })),
  );
  const entry = files.map(({ role, path }) => `export * as ${JSON.stringify(role)} from '${path}';`).join('\n');
  const { z, ...modules } = await importSource({
    stdin: { contents: `export { z } from 'zod';\n${entry}`, resolveDir: ROLES, loader: 'ts' },
  });
  const schemaOf = (module) => Object.values(module).find((value) => value instanceof z.ZodObject);
  return { z, schemas: new Map(Object.entries(modules).map(([role, module]) => [role, schemaOf(module)])) };
}

/** What is accepted, in words: choices or bounds; nothing where any text may stand. */
function accepted({ enum: choices, minimum, maximum }) {
  if (choices !== undefined) return `one of ${choices.map((choice) => `\`${choice}\``).join(', ')}`;
  if (minimum !== undefined && maximum !== undefined) return `from ${minimum} to ${maximum}`;
  return undefined;
}

function lineOf(z, name, field) {
  const parsed = field.safeParse(undefined);
  const fallback = parsed.success ? parsed.data : undefined;
  const need = !parsed.success ? 'required' : fallback === undefined ? 'optional' : `default \`${fallback}\``;
  const description = field.description ?? field.unwrap?.().description;
  if (description === undefined) throw new Error(`${name} has no description`);
  const facts = [need, accepted(z.toJSONSchema(field, { unrepresentable: 'any' }))].filter(
    (fact) => fact !== undefined,
  );
  return `- \`${name}\` (${facts.join('; ')}): ${description}`;
}

/** One section for what every role reads, one for what a group of roles shares, then one for each role. */
function sections(z, roles) {
  const rank = (role) => (ORDER.includes(role) ? ORDER.indexOf(role) : ORDER.length);
  const names = [...roles.keys()].sort((a, b) => rank(a) - rank(b));
  const rows = new Map();
  for (const role of names)
    for (const [name, field] of Object.entries(roles.get(role).shape)) {
      const line = lineOf(z, name, field);
      rows.set(line, [...(rows.get(line) ?? []), role]);
    }
  const groups = new Map();
  for (const [line, readers] of rows) groups.set(readers.join(), [...(groups.get(readers.join()) ?? []), line]);
  return [...groups]
    .map(([key, lines]) => ({ readers: key.split(','), lines }))
    .sort((a, b) => b.readers.length - a.readers.length)
    .map(({ readers, lines }) => `## ${titleOf(readers, names)}\n\n${lines.join('\n')}`);
}

const titleOf = (readers, all) =>
  readers.length === all.length
    ? 'Every role'
    : `Role${readers.length > 1 ? 's' : ''} ${readers.map((role) => `\`${NAMES[role] ?? role}\``).join(' and ')}`;

const { z, schemas: roles } = await schemas();
const text = readFileSync(DOCUMENT, 'utf8');
const generated = text.replace(
  /(<!-- config -->\n)[\s\S]*?(<!-- \/config -->)/,
  (_, begin, end) => `${begin}\n${sections(z, roles).join('\n\n')}\n\n${end}`,
);
const next = await format(generated, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT });
if (!process.argv.includes('--check')) writeFileSync(DOCUMENT, next);
else if (next !== text) {
  process.stderr.write('error: docs/configuration.md is not current\nhint: node scripts/config-table.mjs\n');
  process.exitCode = 1;
}
