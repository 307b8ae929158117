import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCodeOf } from '../errors/coded-error.ts';

/** So often a folder is made that goes again before its first file is there. */
const MAX_FOLDERS = 10;

export interface FileToWrite {
  readonly path: string;
  readonly bytes: Uint8Array | string;
}

/**
 * Writes files, each whole or not at all, that are durable when this resolves. All are written under
 * temporary names and fsynced, then renamed, then their folders are fsynced. Each step is done for all files
 * at once, because a file system that commits in batches then commits twice in all and not twice for each
 * file. A crash leaves `.tmp` files and any number of the files. Two callers may write one file at once; one
 * of the two contents stays.
 */
export async function writeDurably(...files: readonly FileToWrite[]): Promise<void> {
  const asides = await Promise.all(files.map(writeAside));
  await Promise.all(files.map(({ path }, at) => rename(asides[at] ?? '', path)));
  await Promise.all([...new Set(files.map(({ path }) => dirname(path)))].map(syncFolder));
}

/**
 * The same for files whose names nobody has taken: whoever comes first decides, and what stands there then is
 * durable too. Returns for each whether it was written.
 */
export async function createDurably(...files: readonly FileToWrite[]): Promise<boolean[]> {
  const asides = await Promise.all(files.map(writeAside));
  const created = await Promise.all(files.map(({ path }, at) => linked(asides[at] ?? '', path)));
  await Promise.all([...new Set(files.map(({ path }) => dirname(path)))].map(syncFolder));
  return created;
}

/** Gives a file its name, unless another has it; returns whether it did. */
async function linked(aside: string, path: string): Promise<boolean> {
  try {
    await link(aside, path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
    return false;
  } finally {
    await rm(aside, { force: true });
  }
}

async function writeAside({ path, bytes }: FileToWrite): Promise<string> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = await opened(aside);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } catch (error) {
    // Half a file would keep the room that others need.
    await rm(aside, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  return aside;
}

/** Opens a new file, in a folder that is made where it is missing: others may remove empty ones. */
async function opened(path: string): Promise<FileHandle> {
  for (let left = MAX_FOLDERS; ; left -= 1) {
    try {
      return await open(path, 'wx', 0o640);
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT' || left === 0) throw error;
      await mkdir(dirname(path), { recursive: true });
    }
  }
}

/** Fsyncs a folder, which makes the names in it durable. */
export async function syncFolder(folder: string): Promise<void> {
  const directory = await open(folder, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
