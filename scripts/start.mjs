// `npm start`: sets up what is missing, then runs `countersign up`.
import { ensureBuilt, ensureInstalled, root } from './setup.mjs';

const json = process.argv.includes('--json');
const say = (line) => (json ? process.stderr : process.stdout).write(`${line}\n`);

await ensureInstalled(say, { isForTests: false });
await ensureBuilt(say);
process.argv.splice(1, 1, `${root}dist/roles/cli/main.js`, 'up');
await import(new URL('../dist/roles/cli/main.js', import.meta.url).href);
