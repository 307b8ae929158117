// Writes docker-compose.yml from the template of `countersign init`, for the folder `installation` that it
// makes; `--check` fails where it is not current. It reads the sources and needs no build.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { importSource } from './import-source.mjs';
import { ensureInstalled, root } from './setup.mjs';

await ensureInstalled(() => undefined);
const FILE = join(root, 'docker-compose.yml');
const CLI = join(root, 'src', 'roles', 'cli');
const HEADER = [
  'Every role in a container of its own. Before the first start: npx countersign init installation --yes',
  'It makes keys, passwords and the Redis users in the folder installation, for two workers; for more, and for',
  'other models, use the compose.yaml in that folder, which is made by the same template.',
  'Whoever is not user 1000 says so: COUNTERSIGN_OWNER=$(id -u):$(id -g) docker compose up --build',
];
const PLAN = {
  version: 1,
  pools: [{ name: 'default', workers: 2, invited: 0, gpu: false, outside: false }],
  attestorOutside: false,
  redisUrl: 'redis://redis:6379',
  url: 'http://127.0.0.1:8181',
  shard: 'cs',
  witnesses: [],
  operator: 'local',
  tenant: 'first',
  owner: '1000:1000',
  program: '/opt/countersign',
};

const { composeFile } = await importSource({
  stdin: { contents: "export { composeFile } from './compose-file.ts';", resolveDir: CLI, loader: 'ts' },
});
const place = { folder: './installation', source: '.', owner: '${COUNTERSIGN_OWNER:-1000:1000}', header: HEADER };
const next = await format(composeFile(PLAN, place), { ...(await resolveConfig(FILE)), filepath: FILE });
if (!process.argv.includes('--check')) writeFileSync(FILE, next);
else if (next !== readFileSync(FILE, 'utf8')) {
  process.stderr.write('error: docker-compose.yml is not current\nhint: node scripts/compose-file.mjs\n');
  process.exitCode = 1;
}
