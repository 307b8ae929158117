// Sets up a fresh clone on a machine that has only Node.js and npm.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const at = (...parts) => join(root, ...parts);

function fail(message, hint) {
  process.stderr.write(`error: set-up: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}

async function run(command, args, what) {
  const child = spawn(command, args, {
    cwd: root,
    // On a terminal, npm shows its own progress: a minute of silence looks like a hang.
    stdio: ['ignore', 'pipe', process.stderr.isTTY ? 'inherit' : 'pipe'],
  });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => said.push(chunk));
  const [status] = await once(child, 'close');
  if (status === 0) return;
  process.stderr.write(Buffer.concat(said));
  fail(`${what} failed`, 'the lines above say why; it needs the npm registry and nothing else from outside');
}

/**
 * Installs the packages of the lockfile, unless exactly these are installed already: all, or without what
 * only tests, checks and benches need, which is half of them.
 */
export async function ensureInstalled(say, { isForTests = true } = {}) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    fail(`Node.js ${process.versions.node} is too old`, 'install Node.js 20.19 or later');
  const wanted = createHash('sha256')
    .update(readFileSync(at('package-lock.json')))
    .digest('hex');
  const stamp = at('node_modules', '.countersign-lock');
  const enough = [wanted, ...(isForTests ? [] : [`${wanted} without tests`])];
  if (existsSync(stamp) && enough.includes(readFileSync(stamp, 'utf8'))) return;
  say('installing packages from the lockfile');
  const omitted = isForTests ? [] : ['--omit=dev'];
  // No package needs its install script, so none is run.
  await run('npm', ['ci', ...omitted, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], 'npm ci');
  writeFileSync(stamp, enough.at(-1));
}

/**
 * Fetches a Redis server into a folder, where `findRedisServer` would later do so: with nothing installed and
 * built, and so beside both. Where this fails, that one tries again and says what is the matter.
 */
export async function fetchRedis(folder, say) {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const isOnPath = ['redis-server', 'valkey-server'].some((name) => folders.some((dir) => existsSync(join(dir, name))));
  if (isOnPath || existsSync(join(folder, 'root'))) return;
  say(`no Redis on this machine: fetching Debian's redis-server into ${folder} (about 4 MB, no root)`);
  // The data of an installation will stand beside it.
  mkdirSync(dirname(folder), { recursive: true, mode: 0o700 });
  const child = spawn('/bin/sh', [at('src', 'ground', 'redis', 'debian-redis.sh'), folder], { stdio: 'ignore' });
  await once(child, 'close').catch(() => undefined);
}

/** What is made of the compiled files; none of these changes a file that another one reads. */
const OF_COMPILED = {
  'bundle-checker': 'the page that checks receipts',
  'bundle-callers': 'the bundle of the commands of callers',
  'bundle-roles': 'the bundle of the roles',
};
/** The same, for those who install the package to call a service. */
const FOR_CALLERS = { 'bundle-clients': 'the bundles of the client' };
/** Of other files, whatever is compiled. */
const BESIDE = {
  'bundle-dashboard': 'the files of the dashboard',
  'bundle-packages': 'the bundle of the packages',
};
const BUNDLES = { ...OF_COMPILED, ...FOR_CALLERS, ...BESIDE };

const script = (name) => at('scripts', `${name}.mjs`);

async function bundle(bundles) {
  await Promise.all(Object.entries(bundles).map(([name, what]) => run(process.execPath, [script(name)], what)));
}

function sourceDigest() {
  const hash = createHash('sha256');
  const visit = (folder) => {
    for (const entry of readdirSync(at(folder), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else hash.update(`${path}\0`).update(readFileSync(at(path)));
    }
  };
  visit('src');
  visit('web');
  for (const file of [
    ...['tsconfig.json', 'tsconfig.build.json', 'nest-cli.json', 'package-lock.json'],
    ...['service/package.json', 'scripts/package.json'],
    ...Object.keys(BUNDLES).map((name) => `scripts/${name}.mjs`),
  ])
    hash.update(readFileSync(at(file)));
  return hash.digest('hex');
}

const STAMP = at('dist', '.sources');

/**
 * Builds, unless the last build was of exactly these sources: all, or without what only those take who
 * install the package to call a service.
 */
export async function ensureBuilt(say, { isForCallers = true } = {}) {
  const wanted = stampOf(isForCallers);
  if (existsSync(STAMP) && [wanted, stampOf(true)].includes(readFileSync(STAMP, 'utf8'))) return;
  say('building');
  await build({ isForCallers });
}

const stampOf = (isForCallers) => `${sourceDigest()}${isForCallers ? '' : ' without clients'}`;

/**
 * Does what `nest-cli.json` says, as `nest build` would, but with the native compiler of TypeScript 7.
 * The CLI drives the compiler through a programming interface that version 7 does not have; with version 6
 * it takes four times as long.
 */
async function compile({ sourceRoot, compilerOptions }) {
  await run(process.execPath, [COMPILER, '-p', compilerOptions.tsConfigPath], 'the build');
  const kinds = compilerOptions.assets.map(({ include }) => extname(include));
  for (const file of readdirSync(at(sourceRoot), { recursive: true }))
    if (kinds.includes(extname(file))) cpSync(at(sourceRoot, file), at('dist', file));
}

const COMPILER = at('node_modules', 'typescript-native', 'bin', 'tsc');

/**
 * Compiles, then puts into single files what is loaded together; says nothing unless it fails. Types are
 * checked by `npm run check`: it takes four times as long as all of this, and gives the same files.
 */
export async function build({ isForCallers = true } = {}) {
  const wanted = stampOf(isForCallers);
  const options = JSON.parse(readFileSync(at('nest-cli.json'), 'utf8'));
  if (options.compilerOptions.deleteOutDir) rmSync(at('dist'), { recursive: true, force: true });
  await Promise.all([
    compile(options).then(() => bundle(isForCallers ? { ...OF_COMPILED, ...FOR_CALLERS } : OF_COMPILED)),
    bundle(BESIDE),
    ...(isForCallers ? [run(process.execPath, [COMPILER, '-p', at('src', 'client')], 'the types of the client')] : []),
  ]);
  // Only now: what was bundled so far is made of the installed packages.
  renameSync(at('dist', 'packages'), at('dist', 'node_modules'));
  writeFileSync(STAMP, wanted);
}
