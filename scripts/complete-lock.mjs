// Completes the lockfile after a change of a dependency:
// `npm install --package-lock-only --ignore-scripts && node scripts/complete-lock.mjs`.
//
// With a registry mirror that serves only some platforms, npm writes a lockfile without the optional packages
// of the others, and `npm ci` refuses it there. Their parents pin the versions of those packages exactly.
// This script adds the missing entries, each optional and for its platform only.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const path = fileURLToPath(new URL('../package-lock.json', import.meta.url));
const lock = JSON.parse(readFileSync(path, 'utf8'));
const { overrides = {} } = JSON.parse(readFileSync(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8'));

const OS = {
  darwin: 'darwin',
  mac: 'darwin',
  win32: 'win32',
  win: 'win32',
  linux: 'linux',
  freebsd: 'freebsd',
  android: 'android',
  openharmony: 'openharmony',
  wasm32: 'wasm32',
};
const CPU = {
  arm64: 'arm64',
  x64: 'x64',
  ia32: 'ia32',
  arm: 'arm',
  riscv64: 'riscv64',
  ppc64: 'ppc64',
  s390x: 's390x',
  loong64: 'loong64',
};
const find = (table, words) => words.map((word) => table[word]).find((value) => value !== undefined);

let added = 0;
for (const entry of Object.values(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (lock.packages[key] !== undefined) continue;
    const alias = /^npm:(.+)@([^@]+)$/.exec(overrides[name] ?? '');
    const version = alias?.[2] ?? range;
    if (!/^\d+\.\d+\.\d+/.test(version)) throw new Error(`${name} is not pinned exactly: ${range}`);
    const words = (alias?.[1] ?? name).split(/[/-]/);
    const os = find(OS, words);
    const cpu = find(CPU, words) ?? (words.includes('gnueabihf') || words.includes('eabi') ? 'arm' : undefined);
    if (os === undefined) throw new Error(`which platform is ${name} for?`);
    lock.packages[key] = {
      ...(alias ? { name: alias[1] } : {}),
      version,
      ...(cpu ? { cpu: [cpu] } : {}),
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      os: [os],
    };
    added += 1;
  }
}

// npm would bring every installation 55 MB that it never opens: builds of the engine for other processors,
// which say that they also suit this one, and the compiler of tests, which the engine can do without.
const engine = lock.packages['node_modules/node-llama-cpp'];
delete engine.peerDependencies;
delete engine.peerDependenciesMeta;
const compiler = lock.packages['node_modules/typescript'];
delete compiler.devOptional;
compiler.dev = true;
for (const [build, cpu] of Object.entries({ 'linux-arm64': 'arm64', 'linux-armv7l': 'arm' }))
  lock.packages[`node_modules/@node-llama-cpp/${build}`].cpu = [cpu];

lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`added ${added} entries\n`);
