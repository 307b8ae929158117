import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { Logger } from '../logging/logger.ts';
import { PeriodicTask } from '../process/periodic-task.ts';
import { isS3 } from '../config/s3-place.ts';
import type { BlobStore } from './blob-store.ts';

const LOOK_EVERY_MS = 1_000;
/** Requests are paid for, and a write that fails wakes the probe at once. */
const LOOK_AT_S3_EVERY_MS = 10_000;
/** Room for one output of the largest size. */
export const STORAGE_ROOM_BYTES = 16 * 1_048_576;

/** Why nothing can be stored now. */
export type StorageProblem = 'storage_full' | 'storage_unavailable';

interface ProbeParts {
  /** What is to take blobs. */
  readonly stores: readonly BlobStore[];
  /** Less room than this is none: work that is begun must be able to store what it makes. */
  readonly roomBytes: number;
  readonly logger: Logger;
}

/**
 * Whether stores take blobs now, by the room that a file system says it has and by writing a small file: a
 * folder every second, S3 every ten while all is well.
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
      (error) => parts.logger.warn(`the blobs: ${messageOf(error).slice(0, 300)}`),
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
    const { stores, roomBytes, logger } = this.#parts;
    const found = (await Promise.all(stores.map((store) => problemOf(store, roomBytes)))).find(
      (problem) => problem !== undefined,
    );
    const everyMs =
      found === undefined && stores.every(({ place }) => isS3(place)) ? LOOK_AT_S3_EVERY_MS : LOOK_EVERY_MS;
    if (found?.problem === this.#problem) return everyMs;
    this.#problem = found?.problem;
    if (found === undefined) logger.info({ places: stores.map(({ place }) => place) }, 'blobs can be stored again');
    else logger.error(found, 'blobs cannot be stored; no work is taken');
    this.#onChange();
    return everyMs;
  }
}

/** Why a store takes nothing now; undefined where it does. */
async function problemOf(
  store: BlobStore,
  roomBytes: number,
): Promise<{ place: string; problem: StorageProblem; why: string } | undefined> {
  try {
    await store.probe(roomBytes);
    return undefined;
  } catch (error) {
    const isFull = error instanceof CodedError && error.code === 'storage_full';
    const why = error instanceof CodedError && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    return { place: store.place, problem: isFull ? 'storage_full' : 'storage_unavailable', why };
  }
}
