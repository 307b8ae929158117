import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './redis.ts';

/**
 * The build of an older commit, in a folder of its own, with the packages that are installed here; gone when
 * disposed of. It needs the history of the repository, and a minute.
 */
export class OlderBuild implements Disposable {
  readonly folder: string;

  constructor(commit: string) {
    this.folder = mkdtempSync(join(tmpdir(), 'cs-older-'));
    const archive = execFileSync('git', ['archive', commit], { cwd: ROOT, maxBuffer: 1 << 30 });
    execFileSync('tar', ['-x', '-C', this.folder], { input: archive });
    symlinkSync(join(ROOT, 'node_modules'), join(this.folder, 'node_modules'));
    execFileSync(process.execPath, [join('scripts', 'build.mjs')], { cwd: this.folder, stdio: 'ignore' });
    if (!existsSync(join(this.dist, 'roles'))) throw new Error(`The commit ${commit} was not built.`);
  }

  get dist(): string {
    return join(this.folder, 'dist');
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
