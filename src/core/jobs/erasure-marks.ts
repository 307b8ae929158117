import type { FileTree } from '../../ground/blobs/file-tree.ts';
import { JOB_ID } from '../../proof/receipts/fields.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import { createdMsOf } from './job-id.ts';

const DAY_MS = 86_400_000;

/** An erasure: the job, its place in the log if it has one, and since when (ms) it is to be erased. */
export interface Erasure {
  readonly id: string;
  readonly place: number | undefined;
  readonly erasedMs: number;
}

/**
 * Which jobs are to be erased, as small files that outlive Redis. A mark is written before anything is
 * removed. From then on nobody brings back what the job held: neither a writer of the archive that has read
 * it before, nor a Redis that comes back older, whose record readers do not believe.
 *
 * Marks of jobs with a place in the log stand by their tile, those of others by the day of their creation:
 * whoever has the job or the tile finds the mark by its name, without an index. Any number of processes may
 * read and write at once.
 */
export class ErasureMarks {
  readonly #files: FileTree;

  constructor(files: FileTree) {
    this.#files = files;
  }

  /** Adds marks; durable when this resolves. One that is there keeps its time. */
  async add(erasures: readonly Erasure[]): Promise<void> {
    const known = await Promise.all(erasures.map(({ id, place }) => this.at(id, place)));
    const fresh = erasures.filter((_, at) => known[at] === undefined);
    await this.#files.write(
      ...fresh.map(({ id, place, erasedMs }) => ({ name: nameOf(id, place), bytes: `${erasedMs} ${id}\n` })),
    );
  }

  /** Since when (ms) a job is to be erased; undefined where it is not. */
  async at(id: string, place: number | undefined): Promise<number | undefined> {
    return (await this.#read(nameOf(id, place)))?.erasedMs;
  }

  /** The erasures among the entries of a tile, by their places. */
  async ofTile(tile: number): Promise<Map<number, number>> {
    const folder = folderOf(tile);
    const marks = await Promise.all(
      (await this.#files.names(folder))
        .filter(isPlace)
        .map(async (name) => [Number(name), await this.#read(`${folder}/${name}`)] as const),
    );
    return new Map(marks.flatMap(([place, mark]) => (mark === undefined ? [] : [[place, mark.erasedMs]])));
  }

  /**
   * The erasures of jobs that were created after a time (ms), and of some before. Jobs that were created long
   * before others end before them, so that the first tile with older ones alone is the last that is read.
   */
  async *createdAfter(ms: number): AsyncGenerator<Erasure> {
    for await (const tile of this.#tiles()) {
      const folder = folderOf(tile);
      let newestMs = 0;
      for (const name of (await this.#files.names(folder)).filter(isPlace)) {
        const mark = await this.#read(`${folder}/${name}`);
        if (mark === undefined) continue;
        newestMs = Math.max(newestMs, createdMsOf(mark.id));
        yield { ...mark, place: Number(name) };
      }
      if (newestMs > 0 && newestMs < ms) break;
    }
    for (const day of (await this.#files.names('days')).filter((name) => (Number(name) + 1) * DAY_MS > ms))
      for (const id of (await this.#files.names(`days/${day}`)).filter((name) => JOB_ID.test(name))) {
        const mark = await this.#read(`days/${day}/${id}`);
        if (mark !== undefined) yield { ...mark, place: undefined };
      }
  }

  /** The tiles that got a mark after a time (ms). */
  async *tilesMarkedAfter(ms: number): AsyncGenerator<number> {
    for await (const tile of this.#tiles()) if (await this.#files.isChangedAfter(folderOf(tile), ms)) yield tile;
  }

  /** The tiles that have marks, the newest first. */
  async *#tiles(): AsyncGenerator<number> {
    for (const upper of (await this.#files.names('tiles')).toSorted().toReversed())
      for (const lower of (await this.#files.names(`tiles/${upper}`)).toSorted().toReversed())
        yield Number(upper + lower);
  }

  /** Removes the marks of a tile whose entries are no longer kept. */
  async removeTile(tile: number): Promise<void> {
    await this.#files.removeFolder(folderOf(tile));
  }

  /** Removes the marks of jobs without a place that were created on a day that ended before a time (ms). */
  async removeDays(beforeMs: number): Promise<void> {
    for (const day of await this.#files.names('days'))
      if ((Number(day) + 1) * DAY_MS < beforeMs) await this.#files.removeFolder(`days/${day}`);
  }

  /** Undefined where there is no mark. */
  async #read(name: string): Promise<{ id: string; erasedMs: number } | undefined> {
    const [erasedMs = '', id = ''] = (await this.#files.read(name))?.toString('utf8').trimEnd().split(' ') ?? [];
    return id === '' ? undefined : { id, erasedMs: Number(erasedMs) };
  }
}

function nameOf(id: string, place: number | undefined): string {
  if (place !== undefined) return `${folderOf(Math.floor(place / TILE_WIDTH))}/${place}`;
  return `days/${Math.floor(createdMsOf(id) / DAY_MS)}/${id}`;
}

function folderOf(tile: number): string {
  const digits = String(tile).padStart(12, '0');
  return `tiles/${digits.slice(0, 9)}/${digits.slice(9)}`;
}

const isPlace = (name: string) => /^\d{1,15}$/.test(name);
