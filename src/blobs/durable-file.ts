import { randomBytes } from 'node:crypto';
import { mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCodeOf } from '../errors/coded-error.ts';

/**
 * Writes a file that is whole or absent: written aside, fsynced, renamed, and its folder fsynced. It is durable when this
 * resolves. A crash before the rename leaves a `.tmp` file; after it, the file.
 */
export async function writeDurably(path: string, bytes: Uint8Array | string): Promise<void> {
  const folder = dirname(path);
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = await open(aside, 'wx', 0o640).catch(async (error: unknown) => {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
    await mkdir(folder, { recursive: true });
    return open(aside, 'wx', 0o640);
  });
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(aside, path);
  const directory = await open(folder, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
