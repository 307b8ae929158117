import { parseCheckpoint } from '../../proof/tlog/checkpoint.ts';
import type { JobArchive } from './job-archive.ts';
import { openRecord, type JobRecord } from './job-record.ts';

/** For so long (ms) a look at the archive's newest checkpoint holds. */
const LOOK_EVERY_MS = 1_000;

/** How much of the log Redis had when it was read: published entries, and entries that have their places. */
export interface LogSizes {
  readonly published: number;
  readonly total: number;
}

/**
 * Jobs by the archive, for readers: those that Redis no longer keeps, and, where Redis has lost its last
 * moments, those that were confirmed in them, whatever Redis remembers. Any number of callers at once.
 */
export class ArchivedJobs {
  readonly #archive: JobArchive;
  #signed: Promise<number> = Promise.resolve(0);
  #lookedAt = -Infinity;
  #largest = 0;

  constructor(archive: JobArchive) {
    this.#archive = archive;
  }

  /** Whether Redis has fewer entries than were signed. */
  async hasLost({ published, total }: LogSizes): Promise<boolean> {
    const now = performance.now();
    if (published < this.#largest || now - this.#lookedAt > LOOK_EVERY_MS) {
      this.#lookedAt = now;
      this.#signed = this.#archive
        .newestCheckpoint()
        .then((note) => (note === undefined ? 0 : parseCheckpoint(note).size));
    }
    this.#largest = Math.max(this.#largest, published);
    return (await this.#signed) > total;
  }

  /** The record of a job that is done, or undefined where the archive has none. */
  async find(id: string, sizes: LogSizes): Promise<JobRecord | undefined> {
    const bytes = await this.#archive.find(id);
    if (bytes === undefined) return undefined;
    const record = openRecord(bytes);
    return (record.index ?? Infinity) < sizes.published || (await this.hasLost(sizes)) ? record : undefined;
  }
}
