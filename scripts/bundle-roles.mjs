// Puts the program of each role, and what the commands of `countersign` load, into one file in the place of
// the built one: to find, read and link some 300 files takes a third of a role's start. A role's file holds
// what that role imports and nothing else, so that a worker's has no line of an attestor; the files that it
// was made of stay, for what runs from a path of its own.
import { build } from 'esbuild';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { placesOfFiles } from './bundle-plugins.mjs';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const PROGRAMS = [
  ...['api', 'courier', 'worker', 'gateway', 'attestor', 'memory'].map((role) => `roles/${role}/main.js`),
  'roles/cli/all-commands.js',
  'core/execution/heartbeat-thread.js',
  'surfaces/memory/search-thread.js',
];

// None reads the file of another: they are started, and not imported.
await Promise.all(
  PROGRAMS.map((program) =>
    build({
      entryPoints: [join(dist, program)],
      outdir: dirname(join(dist, program)),
      entryNames: basename(program, '.js'),
      allowOverwrite: true,
      bundle: true,
      // What is loaded only when it is needed stays a file of its own.
      splitting: true,
      chunkNames: '[name]-[hash]',
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: true,
      // Nest and our errors show the names of classes.
      keepNames: true,
      logLevel: 'error',
      plugins: [placesOfFiles(program)],
    }),
  ),
);
