import { readdir } from 'node:fs/promises';
import { systemCodeOf } from '../errors/coded-error.ts';

/** Ignores an error that says that a file or its folder does not exist, and throws any other. */
export function ignoreAbsent(error: unknown): void {
  if (!['ENOENT', 'ENOTDIR'].includes(systemCodeOf(error) ?? '')) throw error;
}

/** The names in a folder; none where there is no such folder. Throws what the file system says otherwise. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    ignoreAbsent(error);
    return [];
  }
}
