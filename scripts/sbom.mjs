// Writes what an installation is built with and runs, as CycloneDX: `node scripts/sbom.mjs [FILE]`, by
// default `dist/sbom.cdx.json`. npm makes it of the lockfile alone, so that it needs no installation, and
// names each package with its version, its digest and its licence.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { root } from './setup.mjs';

const MOST_BYTES = 64 * 1024 * 1024;
const file = resolve(process.argv[2] ?? join(root, 'dist', 'sbom.cdx.json'));
const made = spawnSync('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: MOST_BYTES,
});
if (made.status !== 0) {
  process.stderr.write(`${made.stderr}error: npm made no list of packages\nhint: it needs npm 10 or newer\n`);
  process.exit(1);
}
const bom = JSON.parse(made.stdout);
// npm's own `--omit dev` also leaves out what both an installation and its development need: of packages that
// stand at two places it names one. The lockfile says of each place whom it is for.
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
const runs = new Set(
  Object.entries(packages)
    .filter(([path, { dev, link }]) => path.includes('node_modules/') && dev !== true && link !== true)
    .map(([path, { version }]) => `${path.replace(/^.*node_modules\//, '')}@${version}`),
);
bom.components = bom.components.filter(({ name, version }) => runs.has(`${name}@${version}`));
const kept = new Set([bom.metadata.component['bom-ref'], ...bom.components.map((component) => component['bom-ref'])]);
bom.dependencies = bom.dependencies
  .filter(({ ref }) => kept.has(ref))
  .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((one) => kept.has(one)) }));
// npm names the component after the folder; the list is of the product, wherever it was made.
bom.metadata.component.name = 'countersign';
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify(bom, null, 2)}\n`);
process.stdout.write(`${bom.components.length} packages in ${file}\n`);
