import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './redis.ts';

/** Gives processes another date, Redis too; what it takes is gone when disposed of. */
export class OtherDate implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'cs-date-'));
  readonly #library = join(this.#folder, 'other-date.so');
  /** False where there is no C compiler (Debian: gcc, libc6-dev). */
  readonly isPossible: boolean;

  constructor() {
    const source = join(ROOT, 'test', 'fixtures', 'other-date.c');
    try {
      execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', this.#library, source], { stdio: 'ignore' });
      this.isPossible = true;
    } catch {
      this.isPossible = false;
    }
  }

  /** What a process is started with for which it is this time now (ms), and which lives on from there. */
  from(ms: number): Readonly<Record<string, string>> {
    if (!this.isPossible) return {};
    return { LD_PRELOAD: this.#library, OTHER_DATE_S: String(Math.max(0, Math.round((ms - Date.now()) / 1_000))) };
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
