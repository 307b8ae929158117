// `npm run bench [-- --json FILE] [--rounds N] [--jobs N]`: measures against baselines in the same run.
// bench/README.md says what each figure means.
import { ensureBuilt, ensureInstalled } from './setup.mjs';

const say = (line) => process.stderr.write(`${line}\n`);
ensureInstalled(say);
ensureBuilt(say);
await import(new URL('../bench/main.mjs', import.meta.url).href);
