// Puts the program of each role, and what the commands of `countersign` load, into one file in the place of
// the built one: to find, read and link some 300 files takes a third of a role's start. A role's file holds
// what that role imports and nothing else, so that a worker's has no line of an attestor; the files that it
// was made of stay, for what runs from a path of its own.
import { build } from 'esbuild';
import { readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const PROGRAMS = [
  ...['api', 'courier', 'worker', 'attestor', 'memory'].map((role) => `roles/${role}/main.js`),
  'roles/cli/all-commands.js',
  'core/execution/heartbeat-thread.js',
];

/** What a file reads from beside itself is found from the place of the bundle. */
const placesOfFiles = (program) => ({
  name: 'places-of-files',
  setup({ onLoad }) {
    onLoad({ filter: /\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      const place = JSON.stringify(relative(dirname(join(dist, program)), path));
      return { contents: text.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`), loader: 'js' };
    });
  },
});

for (const program of PROGRAMS)
  await build({
    entryPoints: [join(dist, program)],
    outfile: join(dist, program),
    allowOverwrite: true,
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    // Nest and our errors show the names of classes.
    keepNames: true,
    logLevel: 'error',
    plugins: [placesOfFiles(program)],
  });
