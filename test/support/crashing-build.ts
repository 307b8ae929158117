import { cpSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './redis.ts';

/** A copy of the build in which the engine `noop` is the fixture that ends its process at certain prompts. */
export class CrashingBuild implements Disposable {
  readonly dist: string;
  readonly #folder: string;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'cs-crashing-'));
    this.dist = join(this.#folder, 'dist');
    const packages = join(ROOT, 'dist', 'node_modules');
    cpSync(join(ROOT, 'dist'), this.dist, { recursive: true, filter: (path) => path !== packages });
    symlinkSync(packages, join(this.dist, 'node_modules'));
    cpSync(join(ROOT, 'package.json'), join(this.#folder, 'package.json'));
    for (const name of ['node_modules', 'models']) symlinkSync(join(ROOT, name), join(this.#folder, name));
    const engines = join(this.dist, 'core', 'engines');
    renameSync(join(engines, 'noop-engine.js'), join(engines, 'noop-engine.honest.js'));
    cpSync(join(ROOT, 'test', 'fixtures', 'crashing.engine.mjs'), join(engines, 'noop-engine.js'));
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
