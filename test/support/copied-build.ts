import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './redis.ts';

/** One change of a built file: a text that stands in it exactly once, and what stands there instead. */
export interface Edit {
  /** Its path below `dist`. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A copy of the build that a test may change; gone when disposed of. */
export class CopiedBuild implements Disposable {
  readonly dist: string;
  readonly #folder: string;

  constructor(edits: readonly Edit[] = []) {
    this.#folder = mkdtempSync(join(tmpdir(), 'cs-build-'));
    this.dist = join(this.#folder, 'dist');
    const packages = join(ROOT, 'dist', 'node_modules');
    const isNeeded = (path: string) => path !== packages && !/\.(d\.ts|map)$/.test(path);
    cpSync(join(ROOT, 'dist'), this.dist, { recursive: true, filter: isNeeded });
    symlinkSync(packages, join(this.dist, 'node_modules'));
    cpSync(join(ROOT, 'package.json'), join(this.#folder, 'package.json'));
    for (const name of ['node_modules', 'models']) symlinkSync(join(ROOT, name), join(this.#folder, name));
    for (const { file, find, replace } of edits) {
      const path = join(this.dist, file);
      writeFileSync(path, edited(readFileSync(path, 'utf8'), { file, find, replace }));
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Throws where the text to change does not stand there exactly once: the edit would be of something else. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const [before, after, ...more] = text.split(find);
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`${file} has ${text.split(find).length - 1} times, and not once: ${find}`);
  return before + replace + after;
}
