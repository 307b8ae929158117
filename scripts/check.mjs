// `npm run check`: runs every script `check:…` of package.json, as many at a time as there are cores, since
// each of them computes on one. What each says is printed in one piece when it ends.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { root } from './setup.mjs';

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const waiting = Object.keys(scripts).filter((name) => name.startsWith('check:'));
const failed = [];

/** Runs one script; resolves to whether it passed. */
function passes(name) {
  const child = spawn('npm', ['run', '--silent', name], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece) => {
      said += piece;
    });
  return new Promise((resolve) => {
    child.once('error', (error) => (said += `${error.message}\n`));
    child.once('close', (code) => {
      process.stdout.write(`${said}${name}: ${code === 0 ? 'passed' : 'failed'}\n`);
      resolve(code === 0);
    });
  });
}

async function lane() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift())
    if (!(await passes(name))) failed.push(name);
}

await Promise.all(Array.from({ length: availableParallelism() }, lane));
process.exit(failed.length === 0 ? 0 : 1);
