// Stands before `npm publish`: what is published is a tagged version, as it was committed, by somebody who
// means it. A version cannot be taken back once somebody has it.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const git = (...words) => execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim();

const faults = [
  process.env.COUNTERSIGN_PUBLISH !== version && `COUNTERSIGN_PUBLISH is not ${version}: say so if you mean it`,
  git('status', '--porcelain') !== '' && 'the working tree holds what is not committed',
  !git('tag', '--points-at', 'HEAD').split('\n').includes(`v${version}`) && `this commit has no tag v${version}`,
].filter(Boolean);
for (const fault of faults) process.stderr.write(`not published: ${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;
