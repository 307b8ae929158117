// Checks the model of a job's life (job.pml) with spin: every property over every order of steps, then that
// what the model is about does happen in it, and then that it breaks as soon as fencing is taken out.
// `node test/model/check.mjs`; it needs spin and gcc (Debian: apt-get install spin gcc).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MODEL = fileURLToPath(new URL('./job.pml', import.meta.url));
/** The property, what is taken out, and whether it holds. */
const CASES = [
  { property: 'safe', holds: true, says: 'one place, one end, and the right answer of an open epoch' },
  { property: 'final', holds: true, says: 'a final state never changes' },
  { property: 'ends', fair: true, holds: true, says: 'every job ends' },
  { property: 'no_zombie', holds: false, says: 'a commit of a closed epoch is refused somewhere' },
  { property: 'no_second_attempt', holds: false, says: 'a second attempt is done somewhere' },
  { property: 'safe', without: 'NO_FENCE', holds: false, says: 'without fencing it breaks' },
];

const folder = mkdtempSync(join(tmpdir(), 'cs-model-'));
try {
  const failed = CASES.filter((one) => !check(one));
  process.exitCode = failed.length === 0 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function check({ property, without, holds, fair = false, says }) {
  const defines = without === undefined ? [] : [`-D${without}`];
  run('spin', [...defines, '-a', MODEL]);
  // Weak fairness needs acceptance cycles; a search for errors alone may stop at the first.
  run('gcc', ['-O2', '-w', '-DNFAIR=4', '-DVECTORSZ=2048', '-o', 'pan', 'pan.c']);
  const said = run(join(folder, 'pan'), ['-a', ...(fair ? ['-f'] : []), '-m1000000', '-N', property]);
  const errors = Number(/errors: (\d+)/.exec(said)?.[1] ?? NaN);
  const states = /(\d[\d.e+]*) states, stored/.exec(said)?.[1] ?? '?';
  const isWhole =
    Number.isInteger(errors) &&
    (errors > 0 || !/Search not completed|max search depth too small|out of memory/.test(said));
  const isRight = isWhole && (errors === 0) === holds;
  const found = errors === 0 ? 'holds' : 'is refuted';
  process.stdout.write(
    `${isRight ? 'ok  ' : 'FAIL'}  ${property}${without ? ` (${without})` : ''} ${found}, ${states} states: ${says}\n`,
  );
  if (without !== undefined && errors > 0) process.stdout.write(trail(defines));
  return isRight;
}

/** The counterexample: the steps that changed something, one a line. */
function trail(defines) {
  const said = run('spin', [...defines, '-k', 'job.pml.trail', '-t', '-p', MODEL]);
  const steps = said.split('\n').flatMap((line) => {
    const step = /proc +\d+ \((\w+):\d+\) \S+:(\d+) \(state \d+\)\s+\[(.*)\]/.exec(line);
    const isMove = step !== null && /^\w[\w[\]]* = /.test(step[3]);
    return isMove ? [`      ${step[1]} line ${step[2]}: ${step[3]}\n`] : [];
  });
  return steps.join('');
}

function run(command, args) {
  const done = spawnSync(command, args, { cwd: folder, encoding: 'utf8', maxBuffer: 64 * 1_048_576 });
  if (done.error) {
    process.stderr.write(`error: ${command} cannot be run: ${done.error.message}\nhint: apt-get install spin gcc\n`);
    process.exit(2);
  }
  return done.stdout + done.stderr;
}
