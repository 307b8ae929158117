// `npm run bench [-- --json FILE] [--rounds N] [--jobs N]`: measures against baselines in the same run;
// `npm run bench:overload` what happens when more is asked than can be done; `npm run bench:warm` what a
// worker does that serves more models than it has memory for; `npm run bench:memory` what searches of
// memories find and how fast they are.
// bench/README.md says what each figure means.
import { ensureBuilt, ensureInstalled } from './setup.mjs';

const say = (line) => process.stderr.write(`${line}\n`);
await ensureInstalled(say);
await ensureBuilt(say);
const program = ['overload', 'warm', 'memory'].find((name) => name === process.argv[2]) ?? 'main';
await import(new URL(`../bench/${program}.mjs`, import.meta.url).href);
