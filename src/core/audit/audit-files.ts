import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ignoreAbsent, namesIn } from '../../ground/blobs/absent-files.ts';
import { writeDurably } from '../../ground/blobs/durable-file.ts';

/** The folder of old segments, in the folder of the transparency log. */
export const auditFolder = (tlog: string): string => join(tlog, 'audit');

/**
 * Segments of the audit log that have left Redis: one file each, one entry a line. What they hold is vouched
 * for by the head in the transparency log that was logged before the file was written.
 */
export class AuditFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Writes a segment; durable when this resolves. Writing it again writes the same. */
  write(segment: number, texts: readonly string[]): Promise<void> {
    return writeDurably({ path: this.#pathOf(segment), bytes: `${texts.join('\n')}\n` });
  }

  /** The entries of a segment; undefined where there is no such file. */
  async read(segment: number): Promise<string[] | undefined> {
    try {
      return (await readFile(this.#pathOf(segment), 'utf8')).split('\n').slice(0, -1);
    } catch (error) {
      ignoreAbsent(error);
      return undefined;
    }
  }

  /** How many segments there are: the number after the last. */
  async count(): Promise<number> {
    const names = (await namesIn(this.#folder)).filter((name) => /^\d{9}\.jsonl$/.test(name));
    return names.reduce((most, name) => Math.max(most, Number.parseInt(name, 10) + 1), 0);
  }

  #pathOf(segment: number): string {
    return join(this.#folder, `${String(segment).padStart(9, '0')}.jsonl`);
  }
}
