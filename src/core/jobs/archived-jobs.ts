import { parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import type { JobArchive } from './job-archive.ts';
import { openAny, type ErasedRecord } from './erased-record.ts';
import type { JobRecord } from './job-record.ts';

/** For so long (ms) a look at the archive's newest checkpoint holds. */
const LOOK_EVERY_MS = 1_000;

/** How much of the log there was when a job was read. */
export interface LogSizes {
  /** Entries that were signed before Redis was read, as the disk says. */
  readonly signed: number;
  /** Entries that Redis had published. */
  readonly published: number;
  /** Entries that had their places in Redis. */
  readonly total: number;
}

/**
 * Jobs by the archive, for readers: those that Redis no longer keeps, and, where Redis has lost its last
 * moments, those that were confirmed in them, whatever Redis remembers. Any number of callers at once.
 */
export class ArchivedJobs {
  readonly #archive: JobArchive;
  #signed = 0;
  #look: Promise<void> | undefined;
  #lookedAt = -Infinity;
  #published = 0;

  constructor(archive: JobArchive) {
    this.#archive = archive;
  }

  /**
   * How many entries were signed, as of the last look at the disk; to be asked before Redis is read: what was
   * signed by then, Redis has unless it lost it.
   */
  async signedSize(): Promise<number> {
    const isFirst = this.#look === undefined;
    const now = performance.now();
    if (now - this.#lookedAt > LOOK_EVERY_MS) {
      this.#lookedAt = now;
      this.#look = this.#archive.newestCheckpoint().then(
        (note) => {
          if (note !== undefined) this.#signed = parseCheckpoint(note).size;
        },
        // A disk that cannot be read says nothing; Redis still does.
        () => undefined,
      );
    }
    if (isFirst) await this.#look;
    return this.#signed;
  }

  /** Whether Redis has fewer entries than were signed, or than it has shown before. */
  hasLost({ signed, published, total }: LogSizes): boolean {
    this.#published = Math.max(this.#published, published);
    return signed > total || published < this.#published;
  }

  /** Since when (ms) a job is to be erased, as the disk knows; `place` is its place in the log, if any. */
  erasedAt(id: string, place: number | undefined): Promise<number | undefined> {
    return this.#archive.erasures.at(id, place);
  }

  /** The record of a job that is done, or undefined where the archive has none. */
  async find(id: string, sizes: LogSizes): Promise<JobRecord | ErasedRecord | undefined> {
    const bytes = await this.#archive.find(id);
    if (bytes === undefined) return undefined;
    const record = openAny(bytes);
    return (record.index ?? Infinity) < sizes.published || this.hasLost(sizes) ? record : undefined;
  }
}
