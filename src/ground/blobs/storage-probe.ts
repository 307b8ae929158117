import { randomBytes } from 'node:crypto';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { Logger } from '../logging/logger.ts';
import { PeriodicTask } from '../process/periodic-task.ts';
import { onDisk } from './storage-error.ts';

const LOOK_EVERY_MS = 1_000;
const PROBE_BYTES = 4_096;
/** Room for one output of the largest size. */
export const STORAGE_ROOM_BYTES = 16 * 1_048_576;

/** Why nothing can be stored now. */
export type StorageProblem = 'storage_full' | 'storage_unavailable';

interface ProbeParts {
  /** The folders that are to take blobs. */
  readonly folders: readonly string[];
  /** Less room than this is none: work that is begun must be able to store what it makes. */
  readonly roomBytes: number;
  readonly logger: Logger;
}

/**
 * Whether folders take files now, by the room that its file system says it has and by writing a small file
 * there, every second.
 */
export class StorageProbe {
  readonly #parts: ProbeParts;
  readonly #looks: PeriodicTask;
  #problem: StorageProblem | undefined;
  #onChange: () => void = () => undefined;

  constructor(parts: ProbeParts) {
    this.#parts = parts;
    this.#looks = new PeriodicTask(
      () => this.#look(),
      (error) => parts.logger.warn(`the folder of blobs: ${messageOf(error).slice(0, 300)}`),
      LOOK_EVERY_MS,
    );
  }

  /** Why nothing can be stored, or undefined while all is well. */
  get problem(): StorageProblem | undefined {
    return this.#problem;
  }

  /** Looks every second, and calls back whenever it has changed. */
  start(onChange: () => void = () => undefined): void {
    this.#onChange = onChange;
    this.#looks.start();
  }

  /** Looks now: something could not be stored. */
  wake(): void {
    this.#looks.wake();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { folders, roomBytes, logger } = this.#parts;
    const found = (await Promise.all(folders.map((folder) => problemOf(folder, roomBytes)))).find(
      (problem) => problem !== undefined,
    );
    if (found?.problem === this.#problem) return LOOK_EVERY_MS;
    this.#problem = found?.problem;
    if (found === undefined) logger.info({ folders }, 'blobs can be stored again');
    else logger.error(found, 'blobs cannot be stored; no work is taken');
    this.#onChange();
    return LOOK_EVERY_MS;
  }
}

/** Why a folder takes no files now; undefined where it does. */
async function problemOf(
  folder: string,
  roomBytes: number,
): Promise<{ folder: string; problem: StorageProblem; why: string } | undefined> {
  const aside = join(folder, `${randomBytes(12).toString('hex')}.tmp`);
  try {
    await onDisk(async () => {
      await mkdir(folder, { recursive: true });
      const { bavail, bsize } = await statfs(folder);
      if (bavail * bsize < roomBytes)
        throw new CodedError('storage_full', `${bavail * bsize} bytes are left, and ${roomBytes} are wanted.`);
      await writeFile(aside, Buffer.alloc(PROBE_BYTES), { flag: 'wx' });
    });
    return undefined;
  } catch (error) {
    const isFull = error instanceof CodedError && error.code === 'storage_full';
    const why = error instanceof CodedError && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    return { folder, problem: isFull ? 'storage_full' : 'storage_unavailable', why };
  } finally {
    await rm(aside, { force: true }).catch(() => undefined);
  }
}
