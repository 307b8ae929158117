import type { FileTree } from '../../ground/blobs/file-tree.ts';

/**
 * Segments of the audit log that have left Redis: one file each, one entry a line. What they hold is vouched
 * for by the head in the transparency log that was logged before the file was written.
 */
export class AuditFiles {
  readonly #files: FileTree;

  /** `log`: where the transparency log stands, in which they have a folder. */
  constructor(log: FileTree) {
    this.#files = log.in('audit');
  }

  /** Writes a segment; durable when this resolves. Writing it again writes the same. */
  write(segment: number, texts: readonly string[]): Promise<void> {
    return this.#files.write({ name: nameOf(segment), bytes: `${texts.join('\n')}\n` });
  }

  /** The entries of a segment; undefined where there is no such file. */
  async read(segment: number): Promise<string[] | undefined> {
    return (await this.#files.read(nameOf(segment)))?.toString('utf8').split('\n').slice(0, -1);
  }

  /** How many segments there are: the number after the last. */
  async count(): Promise<number> {
    const names = (await this.#files.names('')).filter((name) => /^\d{9}\.jsonl$/.test(name));
    return names.reduce((most, name) => Math.max(most, Number.parseInt(name, 10) + 1), 0);
  }
}

const nameOf = (segment: number) => `${String(segment).padStart(9, '0')}.jsonl`;
