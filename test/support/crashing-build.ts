import { cpSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { CopiedBuild } from './copied-build.ts';
import { ROOT } from './redis.ts';

/** A copy of the build in which the engine `noop` is the fixture that ends its process at certain prompts. */
export class CrashingBuild extends CopiedBuild {
  constructor() {
    super();
    const engines = join(this.dist, 'core', 'engines');
    renameSync(join(engines, 'noop-engine.js'), join(engines, 'noop-engine.honest.js'));
    cpSync(join(ROOT, 'test', 'fixtures', 'crashing.engine.mjs'), join(engines, 'noop-engine.js'));
  }
}
