// Sets up a fresh clone on a machine that has only Node.js and npm.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const at = (...parts) => join(root, ...parts);

function fail(message, hint) {
  process.stderr.write(`error: set-up: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}

function run(command, args, what) {
  const done = spawnSync(command, args, {
    cwd: root,
    // On a terminal, npm shows its own progress: a minute of silence looks like a hang.
    stdio: ['ignore', 'pipe', process.stderr.isTTY ? 'inherit' : 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (done.status === 0) return;
  process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  fail(`${what} failed`, 'the lines above say why; it needs the npm registry and nothing else from outside');
}

/**
 * Installs the packages of the lockfile, unless exactly these are installed already: all, or without what
 * only tests, checks and benches need, which is half of them.
 */
export function ensureInstalled(say, { isForTests = true } = {}) {
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
  run('npm', ['ci', ...omitted, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], 'npm ci');
  writeFileSync(stamp, enough.at(-1));
}

/** In this order: the last puts the built programs of the roles into their own place. */
const BUNDLES = [
  ['scripts/bundle-clients.mjs', 'the bundles of the client'],
  ['scripts/bundle-checker.mjs', 'the page that checks receipts'],
  ['scripts/bundle-dashboard.mjs', 'the files of the dashboard'],
  ['scripts/bundle-callers.mjs', 'the bundle of the commands of callers'],
  ['scripts/bundle-packages.mjs', 'the bundle of the packages'],
  ['scripts/bundle-roles.mjs', 'the bundle of the roles'],
];

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
    ...BUNDLES.map(([script]) => script),
  ])
    hash.update(readFileSync(at(file)));
  return hash.digest('hex');
}

const STAMP = at('dist', '.sources');

/** Builds, unless the last build was of exactly these sources. */
export function ensureBuilt(say) {
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === sourceDigest()) return;
  say('building');
  build();
}

/**
 * Does what `nest-cli.json` says, as `nest build` would, but with the native compiler of TypeScript 7.
 * The CLI drives the compiler through a programming interface that version 7 does not have; with version 6
 * it takes four times as long.
 */
function compile() {
  const { sourceRoot, compilerOptions } = JSON.parse(readFileSync(at('nest-cli.json'), 'utf8'));
  if (compilerOptions.deleteOutDir) rmSync(at('dist'), { recursive: true, force: true });
  const compiler = at('node_modules', 'typescript-native', 'bin', 'tsc');
  run(process.execPath, [compiler, '-p', compilerOptions.tsConfigPath], 'the build');
  const kinds = compilerOptions.assets.map(({ include }) => extname(include));
  for (const file of readdirSync(at(sourceRoot), { recursive: true }))
    if (kinds.includes(extname(file))) cpSync(at(sourceRoot, file), at('dist', file));
}

/** Compiles, then puts into single files what is loaded together; says nothing unless it fails. */
export function build() {
  const wanted = sourceDigest();
  compile();
  for (const [script, what] of BUNDLES) run(process.execPath, [at(script)], what);
  writeFileSync(STAMP, wanted);
}
