import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from '../support/redis.ts';

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

test('what the build imports of a package comes from one file, and is all that the installed package has', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const asInstalled = /^(node-llama-cpp|sodium-native|@energetic-ai\/.*|@phala\/dcap-qvl-web)$/;
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
