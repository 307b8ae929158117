// Makes the page that checks receipts, twice: as the API serves it, with script and style in files of their
// own, and as one file that works from a disk. Both hold the verifier of `countersign verify`, with the
// libraries of the client for browsers.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const source = (name) => readFileSync(at(`src/surfaces/checker/page/${name}`), 'utf8');
const write = (name, text) => {
  const path = at(`dist/checker/${name}`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
};

const { outputFiles } = await build({
  entryPoints: [at('src/surfaces/checker/page/page.ts')],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  // Inside a page, these letters would end its script.
  supported: { 'inline-script': false },
  inject: [at('src/client/browser/buffer-global.ts')],
  alias: {
    'node:crypto': at('src/client/browser/node-crypto.ts'),
    'sodium-native': at('src/client/browser/sodium.ts'),
  },
  logLevel: 'error',
});
const script = outputFiles[0].text;
const style = source('page.css');
const page = source('page.html');

/** A page whose marks are replaced; a mark that is not there is a mistake of this script. */
function filled(marks) {
  return Object.entries(marks).reduce((text, [mark, words]) => {
    if (!text.includes(`<!-- ${mark} -->`)) throw new Error(`page.html has no mark "${mark}".`);
    return text.replace(`<!-- ${mark} -->`, () => words);
  }, page);
}

const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "connect-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

write('checker.js', script);
write('checker.css', style);
write(
  'page.html',
  filled({
    policy: '',
    style: '<link rel="stylesheet" href="/verify/checker.css">',
    script: '<script type="module" src="/verify/checker.js"></script>',
  }),
);
write(
  'verify.html',
  filled({
    policy: `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    style: `<style>${style}</style>`,
    script: `<script type="module">${script}</script>`,
  }),
);
