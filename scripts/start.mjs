// `npm start`: sets up what is missing, then runs `countersign up`.
import { resolve } from 'node:path';
import { ensureBuilt, ensureInstalled, fetchRedis, root } from './setup.mjs';

const json = process.argv.includes('--json');
const say = (line) => (json ? process.stderr : process.stdout).write(`${line}\n`);

const given = process.argv.indexOf('--data');
const data = (given > 0 ? process.argv[given + 1] : process.env.COUNTERSIGN_DATA) ?? '.countersign';
await Promise.all([
  ensureInstalled(say, { isForTests: false }).then(() => ensureBuilt(say, { isForCallers: false })),
  (process.env.COUNTERSIGN_REDIS_URL ?? '') === '' ? fetchRedis(resolve(data, 'redis-server'), say) : undefined,
]);
process.argv.splice(1, 1, `${root}dist/roles/cli/main.js`, 'up');
await import(new URL('../dist/roles/cli/main.js', import.meta.url).href);
