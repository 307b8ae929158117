// Bundles the client for browsers: the same verifier as in Node.js, with libraries that do not need Node.js.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

await build({
  entryPoints: [at('dist/client/client.js')],
  outfile: at('dist/client/browser.js'),
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  minify: true,
  logLevel: 'error',
  inject: [at('dist/client/browser/buffer-global.js')],
  alias: {
    'node:crypto': at('dist/client/browser/node-crypto.js'),
    'sodium-native': at('dist/client/browser/sodium.js'),
  },
});
