// Bundles the dashboard from `web` into `dist/dashboard`: one page, and files whose names follow from what is
// in them, text compressed beside them. Nothing of it comes from elsewhere when it is opened.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const folder = at('dist/dashboard');

/** Writes a file under a name that follows from its content, and returns this name. */
function keep(name, ending, bytes) {
  const file = `${name}-${createHash('sha256').update(bytes).digest('hex').slice(0, 10)}.${ending}`;
  write(file, bytes, ending !== 'woff2');
  return file;
}

function write(file, bytes, isText) {
  writeFileSync(`${folder}/${file}`, bytes);
  if (isText) writeFileSync(`${folder}/${file}.gz`, gzipSync(bytes, { level: 9 }));
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const font = keep(
  'inter',
  'woff2',
  readFileSync(at('node_modules/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2')),
);
const common = {
  bundle: true,
  minify: true,
  write: false,
  target: ['chrome123', 'firefox121', 'safari17.5'],
  logLevel: 'error',
};
const scripts = await build({
  ...common,
  entryPoints: [at('web/main.tsx')],
  format: 'esm',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  tsconfigRaw: '{}',
});
const styles = await build({ ...common, entryPoints: [at('web/style.css')], external: ['/dashboard/*'] });
const names = {
  font,
  icon: keep('icon', 'svg', readFileSync(at('web/icon.svg'))),
  style: keep('style', 'css', Buffer.from(styles.outputFiles[0].text.replaceAll('%font%', font))),
  script: keep('app', 'js', Buffer.from(scripts.outputFiles[0].contents)),
};
const page = readFileSync(at('web/index.html'), 'utf8').replace(/%(\w+)%/g, (_, name) => names[name]);
write('index.html', Buffer.from(page), true);
