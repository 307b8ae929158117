// `npm run test:model`: checks the model of a job's life (job.pml) with spin: every property over every
// order of steps, then that what the model is about does happen in it, and then that it breaks as soon as
// fencing is taken out. It needs spin and gcc (Debian: apt-get install spin gcc), and says so where they are
// not there.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODEL = fileURLToPath(new URL('./job.pml', import.meta.url));
/** The property, what is taken out, and whether it holds. */
const CASES = [
  { property: 'safe', holds: true, says: 'one place, one end, and the right answer of an open epoch' },
  { property: 'once', holds: true, says: 'a job has one place in the log at most' },
  { property: 'final', holds: true, says: 'a final state never changes' },
  { property: 'ends', fair: true, holds: true, says: 'every job ends' },
  { property: 'no_zombie', holds: false, says: 'so a commit of a closed epoch is refused somewhere' },
  { property: 'no_second_attempt', holds: false, says: 'so a second attempt is done somewhere' },
  { property: 'once', without: 'NO_FENCE', holds: false, says: 'so without fencing a job is confirmed twice:' },
];
/** A search that goes beyond these bounds has found nothing, and fails. */
const [SEARCH_MS, SEARCH_MB, SEARCH_DEPTH] = [300_000, 2_048, 1_000_000];

const missing = ['spin', 'gcc'].filter((program) => spawnSync(program, ['-V']).error !== undefined);
if (missing.length > 0) {
  process.stderr.write(
    `SKIPPED: the model was not checked, since ${missing.join(' and ')} cannot be run here\n` +
      `hint: apt-get install spin gcc\n`,
  );
  process.exit(0);
}
const folder = mkdtempSync(join(tmpdir(), 'cs-model-'));
try {
  const failed = CASES.filter((one) => !check(one));
  process.stdout.write(`${CASES.length - failed.length} passed, ${failed.length} failed\n`);
  process.exitCode = failed.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function check({ property, without, holds, fair = false, says }) {
  const defines = without === undefined ? [] : [`-D${without}`];
  run('spin', [...defines, '-a', MODEL]);
  // What is to be refuted is searched in breadth, so that the counterexample is a shortest one. What is to
  // hold is searched for cycles too, with weak fairness where a property needs it.
  const search = holds ? ['-DNFAIR=4'] : ['-DBFS', '-DSAFETY'];
  run('gcc', ['-O2', '-w', ...search, `-DMEMLIM=${SEARCH_MB}`, '-DVECTORSZ=2048', '-o', 'pan', 'pan.c']);
  const flags = holds ? ['-a', ...(fair ? ['-f'] : [])] : [];
  const said = run(join(folder, 'pan'), [...flags, `-m${SEARCH_DEPTH}`, '-N', property]);
  const errors = Number(/errors: (\d+)/.exec(said)?.[1] ?? NaN);
  const states = Number(/(\d[\d.e+]*) states, stored/.exec(said)?.[1] ?? NaN).toLocaleString('en');
  const isWhole = errors > 0 || !/Search not completed|max search depth too small|out of memory/.test(said);
  const isRight = Number.isInteger(errors) && isWhole && (errors === 0) === holds;
  const found = !Number.isInteger(errors) || !isWhole ? 'was not decided' : errors === 0 ? 'holds' : 'is refuted';
  const name = without === undefined ? property : `${property} without fencing`;
  process.stdout.write(`${isRight ? 'ok  ' : 'FAIL'}  ${name} ${found}, ${states} states: ${says}\n`);
  if (errors > 0 && (without !== undefined || !isRight)) process.stdout.write(counterexample(defines));
  return isRight;
}

/** The steps that refute a property, one a line, as the model tells them. */
function counterexample(defines) {
  const said = run('spin', [...defines, '-k', 'job.pml.trail', '-t', MODEL]);
  const told = said.split('\n').filter((line) => /^ {4,}\S/.test(line));
  return told.map((line) => `      ${line.trim()}\n`).join('');
}

function run(command, args) {
  const done = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 64 * 1_048_576,
    timeout: SEARCH_MS,
    killSignal: 'SIGKILL',
  });
  if (done.error?.code === 'ETIMEDOUT') return `Search not completed within ${SEARCH_MS} ms`;
  if (done.error) throw done.error;
  return done.stdout + done.stderr;
}
