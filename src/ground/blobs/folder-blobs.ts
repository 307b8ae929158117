import { createHash, randomBytes } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import {
  link,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  utimes,
  writeFile,
  type FileHandle,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CodedError, systemCodeOf } from '../errors/coded-error.ts';
import { BlobMeter } from './blob-meter.ts';
import { BlobStore, OWNERS, isBlobName, ownersPath, requireName, type Stored } from './blob-store.ts';
import { syncFolder, writeDurably } from './durable-file.ts';
import { sha256Hex } from './sha256.ts';
import { asStorageError, onDisk, storageFull } from './storage-error.ts';

const PROBE_BYTES = 4_096;

/**
 * Blobs as the files of a folder. `removeOld` removes the temporary files that a crash leaves; a disk that
 * takes or gives nothing is `storage_full` or `storage_unavailable`.
 */
export class FolderBlobs extends BlobStore {
  readonly place: string;
  readonly #folder: string;

  constructor(folder: string) {
    super();
    this.place = folder;
    this.#folder = folder;
  }

  put(bytes: Uint8Array): Promise<string> {
    return onDisk(() => this.#put(bytes));
  }

  async #put(bytes: Uint8Array): Promise<string> {
    const digest = sha256Hex(bytes);
    const folder = join(this.#folder, digest.slice(0, 2));
    const path = join(folder, digest);
    try {
      // A blob is removed by its age, so storing it again renews the age. What stands under its name and is
      // something else, since a disk or whoever may write here has changed it, gives way to it.
      if (await isHeldIn(path, bytes)) {
        const now = new Date();
        await utimes(path, now, now);
        return digest;
      }
    } catch (error) {
      if (!['ENOENT', 'blob_missing'].includes(systemCodeOf(error) ?? '')) throw error;
    }
    await writeDurably({ path, bytes });
    return digest;
  }

  async get(digest: string, maxBytes: number): Promise<Buffer> {
    requireName(digest);
    try {
      await using file = await openFile(join(this.#folder, digest.slice(0, 2), digest));
      const { size } = await file.stat();
      if (size > maxBytes)
        throw new CodedError('blob_missing', `The stored object ${digest} is larger than it may be.`);
      const bytes = await firstBytes(file, size);
      if (sha256Hex(bytes) !== digest) throw new CodedError('blob_missing', `The stored object ${digest} is damaged.`);
      return bytes;
    } catch (cause) {
      const error = asStorageError(cause);
      if (error instanceof CodedError) throw error;
      throw new CodedError('blob_missing', `The stored object ${digest} cannot be read.`, { cause });
    }
  }

  putStream(source: AsyncIterable<Uint8Array | string>, maxBytes: number): Promise<Stored> {
    return onDisk(() => this.#putStream(source, maxBytes));
  }

  async #putStream(source: AsyncIterable<Uint8Array | string>, maxBytes: number): Promise<Stored> {
    const meter = new BlobMeter(maxBytes);
    const aside = join(this.#folder, `${randomBytes(12).toString('hex')}.tmp`);
    await mkdir(this.#folder, { recursive: true });
    const file = await open(aside, 'wx', 0o640);
    try {
      // A single `write` may end early, on a disk that is nearly full; this goes on to the end of the piece.
      for await (const piece of meter.through(source)) await file.appendFile(piece);
      await file.sync();
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    const stored = meter.stored();
    const { sha256 } = stored;
    const path = join(this.#folder, sha256.slice(0, 2), sha256);
    await mkdir(dirname(path), { recursive: true });
    await rename(aside, path);
    await syncFolder(dirname(path));
    return stored;
  }

  async *read(digest: string): AsyncGenerator<Buffer> {
    requireName(digest);
    const hash = createHash('sha256');
    try {
      await using file = await openFile(join(this.#folder, digest.slice(0, 2), digest));
      for await (const piece of file.createReadStream({ autoClose: false })) {
        const chunk = piece as Buffer;
        hash.update(chunk);
        yield chunk;
      }
    } catch (cause) {
      throw new CodedError('blob_missing', `The stored object ${digest} cannot be read.`, { cause });
    }
    if (hash.digest('hex') !== digest) throw new CodedError('blob_missing', `The stored object ${digest} is damaged.`);
  }

  async touch(digest: string): Promise<boolean> {
    if (!isBlobName(digest)) return false;
    const now = new Date();
    return utimes(join(this.#folder, digest.slice(0, 2), digest), now, now).then(
      () => true,
      () => false,
    );
  }

  async removeUnlessFresh(digest: string, freshMs: number): Promise<boolean> {
    if (!isBlobName(digest)) return true;
    const path = join(this.#folder, digest.slice(0, 2), digest);
    return (await removeOlder(path, Date.now() - freshMs)) || !(await isThere(path));
  }

  of(owner: string): FolderBlobs {
    return new FolderBlobs(join(this.#folder, ...ownersPath(owner)));
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async probe(roomBytes: number): Promise<void> {
    const aside = join(this.#folder, `${randomBytes(12).toString('hex')}.tmp`);
    try {
      await onDisk(async () => {
        await mkdir(this.#folder, { recursive: true });
        const { bavail, bsize } = await statfs(this.#folder);
        if (bavail * bsize < roomBytes)
          throw storageFull(`${bavail * bsize} bytes are left, and ${roomBytes} are wanted.`);
        await writeFile(aside, Buffer.alloc(PROBE_BYTES), { flag: 'wx' });
      });
    } finally {
      await rm(aside, { force: true }).catch(() => undefined);
    }
  }

  async removeOld(ageMs: number): Promise<number> {
    const before = Date.now() - ageMs;
    let removed = 0;
    for await (const path of filesBelow(this.#folder)) if (await removeOlder(path, before)) removed += 1;
    for (const shard of await foldersIn(join(this.#folder, OWNERS)))
      for (const owner of await foldersIn(shard)) if (await isOlder(owner, before)) await removeEmpty(owner);
    return removed;
  }
}

/**
 * Opens a file to read it. A worker can put anything in the place of a blob of its pool: a pipe would hold
 * this process for as long as nobody writes into it, a device has no end, and a link leads elsewhere. Each of
 * them is no file. Throws what the file system says, or CodedError `blob_missing`.
 */
async function openFile(path: string): Promise<FileHandle> {
  // A socket cannot even be opened, and that would look like a disk that is away.
  if (!(await lstat(path)).isFile()) throw new CodedError('blob_missing', 'What stands there is no file.');
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  // Something else can have taken its place since.
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new CodedError('blob_missing', 'What stands there is no file.');
}

/** Whether these bytes, and no others, are what a file holds. Throws where there is nothing of that name. */
async function isHeldIn(path: string, bytes: Uint8Array): Promise<boolean> {
  const found = await lstat(path);
  if (!found.isFile() || found.size !== bytes.length) return false;
  await using file = await openFile(path);
  return (await firstBytes(file, bytes.length)).equals(bytes);
}

/** The first bytes of a file: so many, whatever is appended meanwhile, or fewer where it ends before. */
async function firstBytes(file: FileHandle, size: number): Promise<Buffer> {
  const bytes = Buffer.alloc(size);
  let filled = 0;
  while (filled < size) {
    const { bytesRead } = await file.read(bytes, filled, size - filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  return readdir(folder, { withFileTypes: true }).catch(() => []);
}

/** The folders in a folder. A link to one is none: whoever may write here must not lead us elsewhere. */
async function foldersIn(folder: string): Promise<string[]> {
  return (await entriesOf(folder)).filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
}

/** The paths of all files at any depth. */
async function* filesBelow(folder: string): AsyncGenerator<string> {
  for (const entry of await entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

/** Removes a folder that holds nothing but empty folders; another stays as it is. */
async function removeEmpty(folder: string): Promise<void> {
  for (const inside of await foldersIn(folder)) await rmdir(inside).catch(() => undefined);
  await rmdir(folder).catch(() => undefined);
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => systemCodeOf(error) !== 'ENOENT',
  );
}

async function isOlder(path: string, before: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && found.mtimeMs < before;
}

/**
 * Removes a file that is older than a time (ms); whether it did. Who stores the same blob at this moment has
 * only renewed its age: the file is moved aside first, and comes back where its age was renewed meanwhile.
 */
async function removeOlder(path: string, before: number): Promise<boolean> {
  if (!(await isOlder(path, before))) return false;
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await rename(path, aside);
  } catch {
    return false;
  }
  const isStillOld = await isOlder(aside, before);
  // Not by a second rename: somebody may have stored it anew.
  if (!isStillOld) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
  return isStillOld;
}
