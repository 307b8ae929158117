// Puts each package that the roles import into one file, `dist/packages/<package>`. The build moves this
// folder to `dist/node_modules` at its end, where Node.js finds it before the installed one. A role reads
// some 1,900 files of packages when it starts, and most of its start goes into finding, reading and compiling
// them one by one. Where this folder is absent the installed packages serve, as they do in a packed client.
import { build } from 'esbuild';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { englishOnly } from './bundle-plugins.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'dist', 'packages');

/**
 * Packages that hold machine code, models or pages and look for them beside their own files, and what only
 * the memory loads, a process that is told to trace, or one that is spoken to by MCP.
 */
const LEFT_AS_THEY_ARE =
  /^(node-llama-cpp|@opentelemetry\/.*|sodium-native|@energetic-ai\/.*|@phala\/dcap-qvl-web|@electric-sql\/pglite|@modelcontextprotocol\/server|pg)$/;

/** What Nest loads if it is installed, and says so if it is not. We have none of these. */
const OPTIONAL =
  /^(@nestjs\/(microservices|websockets|platform-express)|@fastify\/(static|view|multipart)|class-(validator|transformer))(\/|$)/;

// What a bundled CommonJS package takes for granted, by names that no package has for itself.
const COMMONJS = `import { createRequire as requireForBundle } from 'node:module';
const require = requireForBundle(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;`;

const { dependencies } = JSON.parse(readFileSync(join(root, 'service', 'package.json'), 'utf8'));
const packages = Object.keys(dependencies).filter((name) => !LEFT_AS_THEY_ARE.test(name));

/** A module that exports by name what the package does; a bundle of CommonJS would have a default only. */
async function reexport(name) {
  const names = Object.keys(await import(name)).filter((one) => one !== 'module.exports');
  const from = JSON.stringify(name);
  return names.length === 0 ? `import ${from};` : `export { ${names.join(', ')} } from ${from};`;
}

rmSync(folder, { recursive: true, force: true });
await build({
  entryPoints: Object.fromEntries(packages.map((name) => [`${name}/index`, `package:${name}`])),
  outdir: folder,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'shared/[hash]',
  bundle: true,
  // What two packages need is there once, so that they agree on what is an instance of what.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  // A role compiles all that it reads, so less text is a shorter start; names stay, for stack traces.
  minifyWhitespace: true,
  minifySyntax: true,
  // Nest and our errors show the names of classes.
  keepNames: true,
  logLevel: 'error',
  banner: { js: COMMONJS },
  plugins: [
    englishOnly,
    {
      name: 'packages',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^package:/ }, ({ path }) => ({
          path: path.slice('package:'.length),
          namespace: 'package',
        }));
        onLoad({ filter: /./, namespace: 'package' }, async ({ path }) => ({
          contents: await reexport(path),
          resolveDir: root,
        }));
        onResolve({ filter: OPTIONAL }, ({ path }) => ({ path, external: true }));
      },
    },
  ],
});
for (const name of packages) {
  mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, name, 'package.json'), JSON.stringify({ name, type: 'module', exports: './index.mjs' }));
}
