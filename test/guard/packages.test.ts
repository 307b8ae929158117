import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { ROOT } from '../support/redis.ts';
import { longTest } from '../support/thorough.ts';

/** Of packages that are imported from this folder: how each is reached, and what it exports. */
function packagesFrom(folder: string, names: readonly string[]): Record<string, { at: string; exports: string[] }> {
  // Nest wants it to be there before itself, as the roles import it.
  const program = `import 'reflect-metadata';
    const found = {};
    for (const name of ${JSON.stringify(names)})
      found[name] = { at: import.meta.resolve(name), exports: Object.keys(await import(name)).toSorted() };
    console.log(JSON.stringify(found));`;
  const done = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(done.stderr).toBe('');
  return JSON.parse(done.stdout) as Record<string, { at: string; exports: string[] }>;
}

const manifest = (path: string) =>
  z
    .object({
      dependencies: z.record(z.string(), z.string()).default({}),
      devDependencies: z.record(z.string(), z.string()).default({}),
    })
    .parse(JSON.parse(readFileSync(join(ROOT, path), 'utf8')));
const { dependencies } = manifest('service/package.json');

/** The packages that a source imports. */
const importsOf = (path: string): string[] =>
  [
    ...readFileSync(join(ROOT, path), 'utf8').matchAll(
      /(?:\bfrom |^import |\bimport\(|\bimport\.meta\s*\.resolve\()'((?:@[\w.-]+\/)?[\w.-]+)[^']*'/gm,
    ),
  ]
    .map(([, name = '']) => name)
    .filter((name) => /^[a-z@]/.test(name) && name !== 'node');

test('the service needs just the packages that it lists, and the package that callers install needs none', () => {
  expect(manifest('package.json').dependencies).toEqual({});
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' });
  const imported = sources
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    // What is there for browsers is put into the bundles when they are built.
    .filter((name) => !name.startsWith('client/browser/'))
    .flatMap((name) => importsOf(join('src', name)));
  // Engines load their packages by name, and Nest's packages want this one beside them.
  const named = ['core', 'embeddings', 'model-embeddings-en'].map((name) => `@energetic-ai/${name}`);
  named.push('rxjs');
  expect([...new Set([...imported, ...named])].toSorted()).toEqual(Object.keys(dependencies).toSorted());
});

test('a start needs no package that only tests need', () => {
  const builders = readdirSync(join(ROOT, 'scripts')).filter((name) =>
    /^(bundle-.*|setup|start|build)\.mjs$/.test(name),
  );
  const forBrowsers = ['web', 'src/client/browser'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.tsx?$/.test(name) && !/\.test\.ts$/.test(name))
      .map((name) => join(folder, name)),
  );
  const imported = [...builders.map((name) => join('scripts', name)), ...forBrowsers].flatMap(importsOf);
  const listed = Object.keys({ ...dependencies, ...manifest('scripts/package.json').dependencies });
  expect(imported.length).toBeGreaterThan(10);
  expect(imported.filter((name) => !listed.includes(name))).toEqual([]);
});

/** Licences that let anyone run, change and sell what is built with the package. */
// The last is that of the typeface, which may be given away with a program and not sold by itself.
const LICENCES =
  /^(MIT|ISC|0BSD|Apache-2\.0|BSD-[23]-Clause|BlueOak-1\.0\.0|\(BSD-2-Clause OR MIT OR Apache-2\.0\)|OFL-1\.1)$/;

const Locked = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      license: z.string().optional(),
      integrity: z.string().optional(),
      dev: z.boolean().optional(),
      link: z.boolean().optional(),
      optional: z.boolean().optional(),
      hasInstallScript: z.boolean().optional(),
    }),
  ),
});
const locked = Object.entries(Locked.parse(JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))).packages)
  .filter(([path, { dev, link }]) => path.includes('node_modules/') && dev !== true && link !== true)
  .map(([path, facts]) => ({ name: path.replace(/^.*node_modules\//, ''), ...facts }));

test('what an installation is built with and runs is free to use, and each new kind of licence or install script is looked at', () => {
  expect(locked.length).toBeGreaterThan(200);
  // Entries of other platforms have none here: they are builds of a package that has one.
  const known = locked.filter(({ license, optional }) => license !== undefined || optional !== true);
  expect(known.filter(({ license = 'none' }) => !LICENCES.test(license)).map(({ name }) => name)).toEqual([]);
  // None is needed: `npm ci --ignore-scripts` installs all that runs (decision 3).
  const scripted = locked.filter(({ hasInstallScript }) => hasInstallScript === true).map(({ name }) => name);
  expect(scripted).toEqual(['esbuild', 'msgpackr-extract', 'node-llama-cpp']);
});

longTest(
  'the list of packages in CycloneDX names every one that an installation runs, with its digest and licence',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-sbom-'));
    try {
      const file = join(folder, 'sbom.json');
      const made = spawnSync(process.execPath, ['scripts/sbom.mjs', file], { cwd: ROOT, encoding: 'utf8' });
      expect([made.status, made.stderr]).toEqual([0, '']);
      const bom = z
        .object({
          bomFormat: z.literal('CycloneDX'),
          components: z.array(
            z.object({
              name: z.string(),
              version: z.string(),
              purl: z.string().startsWith('pkg:npm/'),
              hashes: z.array(z.object({ alg: z.string(), content: z.string() })).optional(),
              licenses: z.array(z.unknown()).optional(),
            }),
          ),
        })
        .parse(JSON.parse(readFileSync(file, 'utf8')));
      const listed = new Map(bom.components.map((one) => [`${one.name}@${one.version}`, one]));
      for (const { name, version = '', license, integrity, optional } of locked) {
        const one = listed.get(`${name}@${version}`);
        // npm leaves out what is of another platform.
        if (one === undefined && optional === true) continue;
        expect([name, one !== undefined]).toEqual([name, true]);
        if (license !== undefined) expect([name, one?.licenses?.length ?? 0]).toEqual([name, 1]);
        if (integrity !== undefined) expect([name, one?.hashes?.length ?? 0]).toEqual([name, 1]);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test('a role that is not told to trace loads nothing of what traces', () => {
  for (const role of ['api', 'courier', 'worker', 'gateway', 'attestor']) {
    const program = readFileSync(join(ROOT, 'dist', 'roles', role, 'main.js'), 'utf8');
    const named = [...program.matchAll(/.*@opentelemetry\/.*/g)].map(([line]) => line.trim());
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((line) => !/^import\("@opentelemetry\/[a-z-]+"\),?$/.test(line))).toEqual([]);
  }
});

test('what the build imports of a package comes from one file, and is all that the installed package has', () => {
  const asInstalled =
    /^(node-llama-cpp|@opentelemetry\/.*|sodium-native|@energetic-ai\/.*|@phala\/dcap-qvl-web|@electric-sql\/pglite|@modelcontextprotocol\/server|pg)$/;
  const names = Object.keys(dependencies).filter((name) => !asInstalled.test(name));
  const [bundled, installed] = [packagesFrom(join(ROOT, 'dist'), names), packagesFrom(ROOT, names)];
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) {
    expect(bundled[name]?.at).toMatch(new RegExp(`/dist/node_modules/${name}/index\\.mjs$`));
    // Node.js adds this one where an ES module imports CommonJS.
    expect([name, bundled[name]?.exports]).toEqual([
      name,
      installed[name]?.exports.filter((one) => one !== 'module.exports'),
    ]);
  }
});
