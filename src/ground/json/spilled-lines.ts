import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { ignoreAbsent } from '../blobs/absent-files.ts';

/** As many files: one fits into memory where all of them do not. */
const PARTS = 256;
/** Characters that wait for one file. */
const HELD = 16_384;

/**
 * Lines that are too many for memory, spread by the word with which they begin over files in a temporary
 * folder of their own: those of one word are in one part. The folder goes with the object. One caller at a
 * time.
 */
export class SpilledLines implements AsyncDisposable {
  readonly #folder: string;
  readonly #held = Array.from({ length: PARTS }, () => '');

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Its folder is made in this one. */
  static async create(folder = tmpdir()): Promise<SpilledLines> {
    return new SpilledLines(await mkdtemp(join(folder, 'countersign-')));
  }

  /** The numbers of all parts. */
  static readonly parts: readonly number[] = Array.from({ length: PARTS }, (_, part) => part);

  /** Adds lines, each without its line feed. */
  async add(lines: readonly string[]): Promise<void> {
    const full = new Set<number>();
    for (const line of lines) {
      const part = crc32(line.slice(0, line.indexOf(' '))) % PARTS;
      const held = `${this.#held[part] ?? ''}${line}\n`;
      this.#held[part] = held;
      if (held.length >= HELD) full.add(part);
    }
    for (const part of full) await this.#write(part);
  }

  /** The lines of a part, in the order in which they came. */
  async read(part: number): Promise<string[]> {
    await this.#write(part);
    const text = await readFile(this.#pathOf(part), 'utf8').catch((error: unknown) => {
      ignoreAbsent(error);
      return '';
    });
    return text.split('\n').slice(0, -1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #write(part: number): Promise<void> {
    const held = this.#held[part] ?? '';
    this.#held[part] = '';
    if (held !== '') await appendFile(this.#pathOf(part), held);
  }

  #pathOf(part: number): string {
    return join(this.#folder, String(part));
  }
}
