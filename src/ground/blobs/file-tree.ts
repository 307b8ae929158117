import { readFile, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ignoreAbsent, namesIn } from './absent-files.ts';
import { createDurably, writeDurably } from './durable-file.ts';
import type { Creation, S3Objects } from './s3-objects.ts';

/** The largest file of the archive: a tile of records with all that may stand in one. */
const MOST_BYTES = 256 * 1_048_576;
/** So many requests of one call are under way at once. */
const AT_ONCE = 16;

export interface NamedFile {
  /** Letters, digits, `.` and `-`, in folders that `/` divides. */
  readonly name: string;
  readonly bytes: Uint8Array | string;
}

/**
 * Files in folders, on a disk or in S3. A file is whole or not there, and durable once the call that writes
 * it resolves; of two who write one at once, one of the two contents stays. Any number of processes at once.
 */
export interface FileTree {
  /** Where it is, for people. */
  readonly place: string;
  /** Whether each call is a request over the network, and paid for. */
  readonly isRemote: boolean;
  /** The tree in one of its folders. */
  in(folder: string): FileTree;
  /** The bytes of a file; undefined where there is none. */
  read(name: string): Promise<Buffer | undefined>;
  /** Writes files, or others in their places. */
  write(...files: readonly NamedFile[]): Promise<void>;
  /** Writes those of the files that are not there: whoever comes first decides. */
  create(...files: readonly NamedFile[]): Promise<Creation[]>;
  /** The names of the files and folders in a folder, without it; none where there is no such folder. */
  names(folder: string): Promise<string[]>;
  /** Removes files that are there, and their folders where nothing is left. */
  remove(...names: readonly string[]): Promise<void>;
  /** Removes a folder with all that is in it. */
  removeFolder(folder: string): Promise<void>;
  /** Whether a file was written into a folder after a time (ms), or one was removed. */
  isChangedAfter(folder: string, ms: number): Promise<boolean>;
  /** Removes what a crash left in a folder of files that were being written longer ago than this. */
  removeUnfinished(folder: string, ageMs: number): Promise<void>;
}

/** Files as those of a folder on a disk. */
export class FolderTree implements FileTree {
  readonly place: string;
  readonly isRemote = false;

  constructor(folder: string) {
    this.place = folder;
  }

  in(folder: string): FileTree {
    return new FolderTree(join(this.place, folder));
  }

  async read(name: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.place, name));
    } catch (error) {
      ignoreAbsent(error);
      return undefined;
    }
  }

  write(...files: readonly NamedFile[]): Promise<void> {
    return writeDurably(...files.map(({ name, bytes }) => ({ path: join(this.place, name), bytes })));
  }

  async create(...files: readonly NamedFile[]): Promise<Creation[]> {
    const created = await createDurably(...files.map(({ name, bytes }) => ({ path: join(this.place, name), bytes })));
    return Promise.all(
      files.map(async ({ name, bytes }, at) => {
        if (created[at] === true) return 'created';
        return (await this.read(name))?.equals(Buffer.from(bytes)) === true ? 'same' : 'other';
      }),
    );
  }

  names(folder: string): Promise<string[]> {
    return namesIn(join(this.place, folder));
  }

  async remove(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => rm(join(this.place, name), { force: true })));
    const folders = new Set(names.map((name) => dirname(join(this.place, name))));
    // What another process is writing there keeps its folder.
    await Promise.all([...folders].map((folder) => rmdir(folder).catch(() => undefined)));
  }

  async removeFolder(folder: string): Promise<void> {
    await rm(join(this.place, folder), { recursive: true, force: true });
  }

  async isChangedAfter(folder: string, ms: number): Promise<boolean> {
    const found = await stat(join(this.place, folder)).catch(() => undefined);
    return found !== undefined && found.mtimeMs > ms;
  }

  async removeUnfinished(folder: string, ageMs: number): Promise<void> {
    const before = Date.now() - ageMs;
    for (const name of (await this.names(folder)).filter((one) => one.endsWith('.tmp'))) {
      const path = join(this.place, folder, name);
      const found = await stat(path).catch(() => undefined);
      if (found !== undefined && found.mtimeMs < before) await rm(path, { force: true });
    }
  }
}

/** Files as objects in S3. Throws CodedErrors `storage_unavailable` and `storage_full`. */
export class ObjectTree implements FileTree {
  readonly place: string;
  readonly isRemote = true;
  readonly #objects: S3Objects;

  constructor(objects: S3Objects) {
    this.place = objects.place;
    this.#objects = objects;
  }

  in(folder: string): FileTree {
    return new ObjectTree(this.#objects.in(folder));
  }

  read(name: string): Promise<Buffer | undefined> {
    return this.#objects.get(name, MOST_BYTES);
  }

  async write(...files: readonly NamedFile[]): Promise<void> {
    await each(files, ({ name, bytes }) => this.#objects.put(name, Buffer.from(bytes)));
  }

  create(...files: readonly NamedFile[]): Promise<Creation[]> {
    return each(files, ({ name, bytes }) => this.#objects.create(name, Buffer.from(bytes)));
  }

  async names(folder: string): Promise<string[]> {
    const begins = folder === '' ? '' : `${folder}/`;
    const names: string[] = [];
    for await (const { objects, folders } of this.#objects.pages(begins, '/')) {
      names.push(...objects.map(({ name }) => name.slice(begins.length)));
      names.push(...folders.map((name) => name.slice(begins.length).replace(/\/$/, '')));
    }
    return names;
  }

  async remove(...names: readonly string[]): Promise<void> {
    await each(names, (name) => this.#objects.remove(name));
  }

  async removeFolder(folder: string): Promise<void> {
    for await (const { objects } of this.#objects.pages(`${folder}/`))
      await this.remove(...objects.map(({ name }) => name));
  }

  async isChangedAfter(folder: string, ms: number): Promise<boolean> {
    for await (const { modifiedMs } of this.#objects.list(`${folder}/`)) if (modifiedMs > ms) return true;
    return false;
  }

  /** An object is whole or not there. */
  removeUnfinished(): Promise<void> {
    return Promise.resolve();
  }
}

/** Makes the calls, a few at a time; returns their results in order. */
async function each<One, Result>(all: readonly One[], call: (one: One) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (let from = 0; from < all.length; from += AT_ONCE)
    results.push(...(await Promise.all(all.slice(from, from + AT_ONCE).map(call))));
  return results;
}
