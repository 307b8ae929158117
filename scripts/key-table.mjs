// Writes docs/redis-keys.md from the table of keys; `--check` fails where it is not current. It reads the
// source and needs no build.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { importSource } from './import-source.mjs';
import { ensureInstalled, root } from './setup.mjs';

await ensureInstalled(() => undefined);
const DOCUMENT = join(root, 'docs', 'redis-keys.md');
const ROLES = ['api', 'worker', 'attestor'];

const tables = () => importSource({ entryPoints: [join(root, 'src', 'ground', 'redis', 'key-table.ts')] });

const MEANING = { write: 'all', read: 'reads' };
const accessOf = (access) => {
  if (access === undefined) return '–';
  if (typeof access === 'string') return MEANING[access];
  const only = access.only.replaceAll('+', '').replaceAll('|', ' ').toUpperCase();
  return access.reads === true ? `reads, ${only}` : only;
};

function keyOf({ place, name, parts, type }) {
  const rest = place === 'pool' && parts[0] === 'pool' ? parts.slice(1) : parts;
  const ends = type === 'BullMQ' ? ['…'] : rest.map((part) => `<${part}>`);
  return `${place === 'pool' ? '@tag:' : ''}${[name, ...ends].join(':')}`;
}

function rowsOf(families) {
  return families.map(
    (family) =>
      `| \`${keyOf(family)}\` | ${family.type} | ${ROLES.map((role) => accessOf(family[role])).join(' | ')} | ${family.holds} | ${family.bound} |`,
  );
}

const { KEY_TABLE, CHANNEL_TABLE } = await tables();
const families = Object.values(KEY_TABLE);
const head = [
  '| key | type | api | worker | attestor | holds | bound |',
  '| --- | --- | --- | --- | --- | --- | --- |',
];
const text = `# Redis keys

Made from \`src/ground/redis/key-table.ts\` by \`scripts/key-table.mjs\`: the names in the code, the rules of the
Redis users and this page come from one table.

Every key begins with \`{shard}:\`. A pool's keys stand behind its tag, four letters that the ids of its jobs carry
too; the Redis user \`worker.<pool>\` can name no other. \`all\` is every command of the role, \`reads\` those that
only read. The courier has the API's rights.

## Of each pool

${[...head, ...rowsOf(families.filter(({ place }) => place === 'pool'))].join('\n')}

What workers may write is a mailbox, and hostile until the attestor has taken it in. Keys of another type, streams
that were ended and what belongs to no job are removed by the attestor within seconds, while everything else goes on.

## At home

${[...head, ...rowsOf(families.filter(({ place }) => place === 'home'))].join('\n')}

## Channels

Wake-ups go by publish and subscribe. A lost one costs up to a second, and never the truth.

| channel | spoken and heard by | holds |
| --- | --- | --- |
${Object.values(CHANNEL_TABLE)
  .map(
    ({ place, name, roles, holds }) =>
      `| \`${place === 'pool' ? '@tag:' : ''}${name}\` | ${roles.join(', ')} | ${holds} |`,
  )
  .join('\n')}
`;
const formatted = await format(text, { ...(await resolveConfig(DOCUMENT)), parser: 'markdown' });
if (!process.argv.includes('--check')) writeFileSync(DOCUMENT, formatted);
else if (readFileSync(DOCUMENT, 'utf8') !== formatted) {
  process.stderr.write('docs/redis-keys.md is not current; write it with: node scripts/key-table.mjs\n');
  process.exit(1);
}
