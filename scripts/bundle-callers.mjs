// Bundles the commands of callers (`countersign verify`, `proxy`, `submit` and so on) into one file that
// needs Node.js and no package: the same code, with the arithmetic of Ed25519 that the client for browsers
// has instead of machine code.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { englishOnly, placesOfFiles } from './bundle-plugins.mjs';

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

await build({
  entryPoints: [at('dist/roles/cli/caller-commands.js')],
  outfile: at('dist/callers.mjs'),
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifyWhitespace: true,
  minifySyntax: true,
  keepNames: true,
  logLevel: 'error',
  // The parser of command lines is CommonJS.
  banner: {
    js: "import { createRequire as requireForBundle } from 'node:module'; const require = requireForBundle(import.meta.url);",
  },
  plugins: [placesOfFiles('callers.mjs'), englishOnly],
  alias: { 'sodium-native': at('dist/client/browser/sodium.js') },
});
