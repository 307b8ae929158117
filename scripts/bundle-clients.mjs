// Bundles the client twice: for browsers, with libraries that do not need Node.js, and for Node.js. Neither
// needs another package, and both have the verifier of the service itself.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const sodium = at('dist/client/browser/sodium.js');
const common = { entryPoints: [at('dist/client/client.js')], bundle: true, format: 'esm', logLevel: 'error' };

await build({
  ...common,
  outfile: at('dist/client/browser.js'),
  platform: 'browser',
  target: 'es2022',
  minify: true,
  inject: [at('dist/client/browser/buffer-global.js')],
  alias: { 'node:crypto': at('dist/client/browser/node-crypto.js'), 'sodium-native': sodium },
});
await build({
  ...common,
  outfile: at('dist/client/node.js'),
  platform: 'node',
  target: 'node20',
  keepNames: true,
  alias: { 'sodium-native': sodium },
});
