// `npm test`: sets up what is missing, then runs the tests against a real Redis and real processes. `npm run
// test:whole` adds the suites and samples that take minutes, and is what every submission passes; so does a
// run that names files. `npm run test:long` adds the fault and load suites. `npm run test:unit` runs only the
// tests in `src`, beside the pure files: they need neither Redis nor a build. `npm run test:faults --
// --planted` runs only the planted bugs and their scenes. Arguments go to Jest, e.g. `npm test -- test/e2e`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, fetchRedis, root } from './setup.mjs';

const isPlanted = process.argv.includes('--planted');
const args = process.argv
  .slice(2)
  .filter((arg) => arg !== '--planted')
  .map((arg) => (isPlanted && arg === 'test/faults' ? 'test/faults/planted' : arg));
const long = args.includes('--long');
const unit = args.includes('--unit');
const whole = long || args.some((arg) => arg === '--whole' || !arg.startsWith('-'));
const say = (line) => process.stdout.write(`${line}\n`);

const redisFolder = join(root, '.countersign', 'redis-server');
const isFetched = unit ? undefined : fetchRedis(redisFolder, say);
await ensureInstalled(say);
if (!unit) {
  await ensureBuilt(say);
  await isFetched;
  await ensureRedis();
}

const results = mkdtempSync(join(tmpdir(), 'cs-results-'));
const file = join(results, 'results.json');
const jest = spawnSync(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    join(root, 'node_modules', 'jest', 'bin', 'jest.js'),
    '--json',
    `--outputFile=${file}`,
    ...args.filter((arg) => !['--long', '--whole', '--unit'].includes(arg)),
    // Last, because Jest takes every word after it as one more root.
    ...(unit ? ['src', 'web'].map((folder) => `--roots=${join(root, folder)}`) : []),
  ],
  {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, COUNTERSIGN_TEST_LONG: long ? '1' : '', COUNTERSIGN_TEST_WHOLE: whole ? '1' : '' },
  },
);
let counts = { numPassedTests: 0, numFailedTests: 0, numFailedTestSuites: 0, numRuntimeErrorTestSuites: 0 };
try {
  counts = JSON.parse(readFileSync(file, 'utf8'));
} catch {
  process.stderr.write('error: the test runner left no results\n');
}
rmSync(results, { recursive: true, force: true });
const failed = counts.numFailedTests + counts.numRuntimeErrorTestSuites;
say(`${counts.numPassedTests} passed, ${failed} failed`);
process.exit(jest.status === 0 && failed === 0 && counts.numPassedTests > 0 ? 0 : 1);

/** Finds or fetches a Redis server for the tests, or says what is missing and exits. */
async function ensureRedis() {
  const { findRedisServer } = await import(new URL('../dist/ground/redis/redis-server.js', import.meta.url).href);
  try {
    await findRedisServer(redisFolder, say);
  } catch (error) {
    process.stderr.write(`error: ${error.code}: ${error.message}\nhint: ${error.hint}\n`);
    process.exit(1);
  }
}
