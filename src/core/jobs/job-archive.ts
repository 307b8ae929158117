import { z } from 'zod';
import type { FileTree, NamedFile } from '../../ground/blobs/file-tree.ts';
import { JobId } from '../../proof/receipts/fields.ts';
import { LogRefused } from '../../proof/tlog/signed-note.ts';
import { TILE_WIDTH } from '../../proof/tlog/tile.ts';
import { createdMsOf } from './job-id.ts';
import { recordHead } from './job-record.ts';
import { erased, isErased } from './erased-record.ts';
import { ErasureMarks } from './erasure-marks.ts';

/** An entry of the log, and the record of the job whose confirmation it is. */
export interface Archived {
  readonly index: number;
  readonly entry: Buffer;
  readonly job: { readonly id: string; readonly record: Buffer } | undefined;
}

/** A file of the archive: the checkpoint that its writer has signed, and entries with their records. */
interface ArchiveFile {
  readonly checkpoint: string;
  readonly items: readonly Archived[];
}

/** The first line of a file; per item the job or "", the bytes of the entry, and those of the record. */
const Head = z.strictObject({
  version: z.literal(1),
  from: z.number().int().min(0),
  checkpoint: z.string(),
  items: z.array(z.tuple([z.union([JobId, z.literal('')]), z.number().int().min(0), z.number().int().min(0)])),
});

/** A whole tile: its number in its folder, when its last job ended, when its earliest was created (ms). */
const WHOLE = /^(\d{3})-(\d{1,15})-(\d{1,15})$/;
const PARTS = /^(\d{3})\.p$/;
const PART = /^(\d{1,15})-(\d{1,15})$/;
/** The clocks of two machines differ by less. */
const CLOCKS_MS = 600_000;
const MAX_COMPARED = 10_000;
/** So often a tile is looked at again until nobody brings back what is to be erased in it. */
const MAX_ROUNDS = 10;

/**
 * The archive of a log: its entries with the records of the jobs, in log order, in files beside the tiles. It
 * restores what Redis has lost, and serves what Redis no longer keeps.
 *
 * A file holds a tile (256 entries); what does not fill one yet stands in parts, one for each checkpoint. The
 * name of a whole file says of which time it is, so that a job is found by its id, which says when it was
 * created, without opening many; a file is removed by itself when its time is over. Any number of processes
 * may read and write at once: of two that write one file the first decides, and the other goes on where that
 * has its own entries. Whoever has written a file looks for marks of erasures afterwards, and
 * whoever erases writes the mark first: of the two, one sees the other.
 */
export class JobArchive {
  /** The jobs that are to be erased here and in Redis. */
  readonly erasures: ErasureMarks;
  readonly #files: FileTree;
  /** Files that were compared with what this process has written, to their ends. */
  readonly #compared = new Set<string>();
  #newest: { name: string; checkpoint: string } | undefined;

  /** `log`: where the transparency log stands, in which the archive has a folder. */
  constructor(log: FileTree) {
    this.#files = log.in('archive');
    this.erasures = new ErasureMarks(this.#files.in('erased'));
  }

  /**
   * Adds entries that follow each other, under the checkpoint that was signed for them; durable when this
   * resolves. What is there already stays as it is. Throws LogRefused where another process has put other
   * entries in their places: both look after they have written, so that not both go on, and whoever does not
   * takes back what it has written.
   */
  async write(checkpoint: string, items: readonly Archived[]): Promise<void> {
    const files: NamedFile[] = [];
    const filled: string[] = [];
    for (const [tile, added] of byTile(items)) {
      const parts = partsOf(tile);
      const isEnd = added.at(-1)?.index === (tile + 1) * TILE_WIDTH - 1;
      const all = isEnd ? merged([...(await this.#parts(parts)).flatMap(({ items: held }) => held), ...added]) : added;
      const isWhole = all.length === TILE_WIDTH;
      const name = isWhole
        ? `${folderOf(tile)}/${wholeName(tile, all)}`
        : `${parts}/${all[0]?.index ?? 0}-${all.at(-1)?.index ?? 0}`;
      files.push({ name, bytes: formatFile({ checkpoint, items: all }) });
      if (isWhole) filled.push(parts);
    }
    await this.#refuseOthers(items);
    const written = await this.#files.create(...files);
    try {
      await this.#refuseOthers(items);
    } catch (error) {
      await this.#files.remove(...files.flatMap(({ name }, at) => (written[at] === 'created' ? [name] : [])));
      throw error;
    }
    for (const parts of filled) await this.#removeParts(parts);
    for (const [tile] of byTile(items)) await this.erase(tile);
  }

  /**
   * Puts the stub in the place of every record of this tile that has a mark, each file anew and whole, until
   * a look at all files finds none; durable when this resolves. Twice is as once. Throws where others go on
   * writing there.
   */
  async erase(tile: number): Promise<void> {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      // Whoever writes a mark after this looks at the files after that.
      const marks = await this.erasures.ofTile(tile);
      if (marks.size === 0) return;
      const names = await this.#namesOf(tile);
      const changed = (await Promise.all(names.map((name) => this.#withoutErased(name, marks)))).flatMap(
        (file) => file ?? [],
      );
      if (changed.length === 0) return;
      await this.#files.write(...changed);
    }
    throw new Error(`Tile ${tile} of the archive was written again and again while jobs in it were erased.`);
  }

  /** The newest checkpoint that was signed for what stands here, or undefined where there is nothing. */
  async newestCheckpoint(): Promise<string | undefined> {
    const name = await this.#newestName();
    if (name === undefined) return undefined;
    if (this.#newest?.name !== name) {
      const file = await this.#read(name);
      if (file === undefined) return this.newestCheckpoint();
      this.#newest = { name, checkpoint: file.checkpoint };
    }
    return this.#newest.checkpoint;
  }

  /** The entries from one index up to another, as far as they are here, in their order. */
  async *read(from: number, to: number): AsyncGenerator<Archived> {
    for (let tile = Math.floor(from / TILE_WIDTH); tile * TILE_WIDTH < to; tile += 1) {
      const items = await this.#tile(tile);
      yield* items.filter(({ index }) => index >= from && index < to);
    }
  }

  /** All entries that are here, a tile at a time, in the order of the log. */
  async *tiles(): AsyncGenerator<readonly Archived[]> {
    for (const leaf of await this.#leaves()) {
      const names = (await this.#files.names(leaf)).filter((name) => WHOLE.test(name) || PARTS.test(name));
      const tiles = new Set(names.map((name) => tileOf(leaf, name)));
      for (const tile of [...tiles].toSorted((a, b) => a - b)) yield await this.#tile(tile);
    }
  }

  /** The files that hold entries of a tile: the whole one, else its parts. */
  async #namesOf(tile: number): Promise<string[]> {
    const whole = await this.#wholeNames(tile);
    if (whole.length === 0) return this.#partNames(partsOf(tile));
    // A crash left them, or somebody who was slow.
    await this.#removeParts(partsOf(tile));
    return whole;
  }

  /** The whole file of a tile; two where a process was killed whose entries would have been refused. */
  async #wholeNames(tile: number): Promise<string[]> {
    const folder = folderOf(tile);
    const names = (await this.#files.names(folder)).filter((name) => WHOLE.exec(name)?.[1] === nameOf(tile));
    return names.map((name) => `${folder}/${name}`);
  }

  /** The record of a job, or undefined where there is none. */
  async find(id: string): Promise<Buffer | undefined> {
    const createdMs = createdMsOf(id);
    const folders = await this.#leaves();
    // When jobs ended grows along the log: the first folder that ends late enough, and those after it.
    for (let at = await this.#firstEndingAfter(folders, createdMs - CLOCKS_MS); at < folders.length; at += 1) {
      const folder = folders[at] ?? '';
      for (const name of (await this.#files.names(folder)).toSorted()) {
        const [, , ended, created] = WHOLE.exec(name) ?? [];
        if (ended !== undefined && (Number(created) > createdMs || Number(ended) < createdMs - CLOCKS_MS)) continue;
        const path = `${folder}/${name}`;
        const files = PARTS.test(name) ? await this.#parts(path) : [await this.#read(path)];
        for (const file of files) for (const { job } of file?.items ?? []) if (job?.id === id) return job.record;
      }
    }
    return undefined;
  }

  /** Removes the files whose jobs have all ended before a time (ms); returns how many. */
  async removeOld(beforeMs: number): Promise<number> {
    let removed = 0;
    for (const folder of await this.#leaves()) {
      for (const name of await this.#files.names(folder)) {
        const ended = WHOLE.exec(name)?.[2];
        if (ended === undefined) continue;
        if (Number(ended) >= beforeMs) return removed;
        await this.#files.remove(`${folder}/${name}`);
        await this.erasures.removeTile(tileOf(folder, name));
        removed += 1;
      }
    }
    return removed;
  }

  /** Removes what a crash left of files that were being written longer ago than this. */
  async removeUnfinished(ageMs: number): Promise<void> {
    for (const leaf of await this.#leaves()) {
      const parts = (await this.#files.names(leaf)).filter((name) => PARTS.test(name)).map((name) => `${leaf}/${name}`);
      for (const folder of [leaf, ...parts]) await this.#files.removeUnfinished(folder, ageMs);
    }
  }

  /** The entries of a tile, as far as they are here. */
  async #tile(tile: number): Promise<readonly Archived[]> {
    const folder = folderOf(tile);
    const names = await this.#files.names(folder);
    const whole = names.find((name) => WHOLE.exec(name)?.[1] === nameOf(tile));
    const file = whole === undefined ? undefined : await this.#read(`${folder}/${whole}`);
    if (file !== undefined) return file.items;
    return merged((await this.#parts(partsOf(tile))).flatMap(({ items }) => items));
  }

  async #parts(folder: string): Promise<ArchiveFile[]> {
    const files = await Promise.all((await this.#partNames(folder)).map((name) => this.#read(name)));
    return files.filter((file) => file !== undefined);
  }

  /** The names of the parts in a folder of parts, in the order of the log. */
  async #partNames(folder: string): Promise<string[]> {
    const names = (await this.#files.names(folder)).filter((name) => PART.test(name)).toSorted(byNumbers);
    return names.map((name) => `${folder}/${name}`);
  }

  /** What another process is writing there stays: it is read nowhere once the whole file is there. */
  async #removeParts(folder: string): Promise<void> {
    await this.#files.remove(...(await this.#partNames(folder)));
  }

  /** Undefined where the file is gone: it was removed, or has become part of another. */
  async #read(name: string): Promise<ArchiveFile | undefined> {
    const bytes = await this.#files.read(name);
    return bytes && parseFile(bytes);
  }

  /** The file with stubs in the place of marked records, to be written; undefined where it has them. */
  async #withoutErased(name: string, marks: ReadonlyMap<number, number>): Promise<NamedFile | undefined> {
    const file = await this.#read(name);
    if (file === undefined) return undefined;
    const items = file.items.map((item): Archived => {
      const { index, job } = item;
      const erasedMs = marks.get(index);
      if (erasedMs === undefined || job === undefined || isErased(job.record)) return item;
      return { ...item, job: { ...job, record: erased(job.record, erasedMs) } };
    });
    const isChanged = items.some((item, at) => item !== file.items[at]);
    return isChanged ? { name, bytes: formatFile({ ...file, items }) } : undefined;
  }

  async #refuseOthers(items: readonly Archived[]): Promise<void> {
    const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
    for (const [tile] of byTile(items)) {
      // What was whole before a part came is whole still.
      const names = [...(await this.#partNames(partsOf(tile))), ...(await this.#wholeNames(tile))];
      for (const name of names) {
        if (this.#compared.has(name)) continue;
        const held = (await this.#read(name))?.items ?? [];
        for (const { index, entry } of held) {
          if (items[index - first]?.entry.equals(entry) === false)
            throw new LogRefused(`Entry ${index} of the archive is another than is to be written.`);
        }
        if ((held.at(-1)?.index ?? Infinity) <= last) this.#compared.add(name);
      }
      if (this.#compared.size > MAX_COMPARED) this.#compared.clear();
    }
  }

  async #newestName(): Promise<string | undefined> {
    for (const folder of (await this.#leaves()).toReversed()) {
      // Of one tile, the whole file is newer than any part that another process has left.
      const names = (await this.#files.names(folder)).toSorted((a, b) =>
        a.slice(0, 3) === b.slice(0, 3) ? Number(PARTS.test(b)) - Number(PARTS.test(a)) : a < b ? -1 : 1,
      );
      for (const name of names.toReversed()) {
        if (WHOLE.test(name)) return `${folder}/${name}`;
        const last = PARTS.test(name) ? (await this.#partNames(`${folder}/${name}`)).at(-1) : undefined;
        if (last !== undefined) return last;
      }
    }
    return undefined;
  }

  /** The first of these folders whose last job ended at this time (ms) or later, or that is not full yet. */
  async #firstEndingAfter(folders: readonly string[], ms: number): Promise<number> {
    let [low, high] = [0, folders.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const names = await this.#files.names(folders[middle] ?? '');
      const ends = names.map((name) => Number(WHOLE.exec(name)?.[2] ?? Infinity));
      if (Math.max(0, ...ends) < ms) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The folders that hold files, in the order of the log. */
  async #leaves(): Promise<string[]> {
    let folders = [''];
    for (let depth = 0; depth < 3; depth += 1) {
      const inside = await Promise.all(
        folders.map(async (folder) =>
          (await this.#files.names(folder))
            .filter((name) => /^\d{3}$/.test(name))
            .toSorted()
            .map((name) => (folder === '' ? name : `${folder}/${name}`)),
        ),
      );
      folders = inside.flat();
    }
    return folders;
  }
}

/** The tile of a whole file, or of a folder of parts. */
function tileOf(folder: string, name: string): number {
  return Number([...folder.split('/'), name.slice(0, 3)].join(''));
}

const digits = (tile: number) => String(tile).padStart(12, '0');
const nameOf = (tile: number) => digits(tile).slice(-3);
const folderOf = (tile: number) => (digits(tile).match(/\d{3}/g) ?? []).slice(0, 3).join('/');
const partsOf = (tile: number) => `${folderOf(tile)}/${nameOf(tile)}.p`;
const byNumbers = (a: string, b: string) => Number(PART.exec(a)?.[2]) - Number(PART.exec(b)?.[2]);

function wholeName(tile: number, items: readonly Archived[]): string {
  const jobs = items.flatMap(({ job }) => job ?? []);
  const ended = Math.max(0, ...jobs.map(({ record }) => recordHead(record).endedMs));
  const created = Math.min(Number.MAX_SAFE_INTEGER, ...jobs.map(({ id }) => createdMsOf(id)));
  return `${nameOf(tile)}-${ended}-${jobs.length === 0 ? 0 : created}`;
}

function byTile(items: readonly Archived[]): Map<number, Archived[]> {
  const tiles = new Map<number, Archived[]>();
  for (const item of items) {
    const tile = Math.floor(item.index / TILE_WIDTH);
    const held = tiles.get(tile);
    if (held === undefined) tiles.set(tile, [item]);
    else held.push(item);
  }
  return tiles;
}

/** Each index once, in order; one with a record before one without. */
function merged(items: readonly Archived[]): Archived[] {
  const byIndex = new Map<number, Archived>();
  for (const item of items) if (byIndex.get(item.index)?.job === undefined) byIndex.set(item.index, item);
  return [...byIndex.values()].toSorted((a, b) => a.index - b.index);
}

function formatFile({ checkpoint, items }: ArchiveFile): Buffer {
  const head: z.infer<typeof Head> = {
    version: 1,
    from: items[0]?.index ?? 0,
    checkpoint,
    items: items.map(({ entry, job }) => [job?.id ?? '', entry.length, job?.record.length ?? 0]),
  };
  return Buffer.concat([
    Buffer.from(`${JSON.stringify(head)}\n`),
    ...items.flatMap(({ entry, job }) => (job === undefined ? [entry] : [entry, job.record])),
  ]);
}

function parseFile(bytes: Buffer): ArchiveFile {
  const line = bytes.indexOf(10);
  const head = Head.parse(JSON.parse(bytes.subarray(0, line).toString('utf8')));
  let at = line + 1;
  const items = head.items.map(([id, entryBytes, recordBytes], offset): Archived => {
    const entry = bytes.subarray(at, (at += entryBytes));
    const record = bytes.subarray(at, (at += recordBytes));
    return { index: head.from + offset, entry, job: id === '' ? undefined : { id, record } };
  });
  return { checkpoint: head.checkpoint, items };
}
