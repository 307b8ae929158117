import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { publicKeyFromBase64, workerIdOf, type PublicKey } from '../keys/signing-key.ts';
import type { Logger } from '../logging/logger.ts';

export const EnrolledWorkersFile = z.strictObject({
  version: z.literal(1),
  workers: z.array(z.strictObject({ id: z.string(), publicKey: z.string().max(64) })).max(100_000),
});
export type EnrolledWorkersFile = z.infer<typeof EnrolledWorkersFile>;

const RELOAD_MS = 1_000;

/**
 * The workers whose signatures count, from a file of the operator's. It is read again when it changes, so that a
 * worker is taken out within a second; a file that became unreadable leaves the last good list in force.
 */
export class EnrolledWorkers {
  readonly #path: string;
  readonly #logger: Logger;
  #workers: ReadonlyMap<string, PublicKey>;
  #modifiedMs: number;
  #checkedAt = performance.now();

  /** Throws CodedError `key_file_unfit`. */
  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    this.#modifiedMs = modifiedMs(path);
    this.#workers = read(path);
  }

  /** The key of an enrolled worker, or undefined. */
  keyOf(id: string): PublicKey | undefined {
    this.#refresh();
    return this.#workers.get(id);
  }

  #refresh(): void {
    const now = performance.now();
    if (now - this.#checkedAt < RELOAD_MS) return;
    this.#checkedAt = now;
    try {
      const modified = modifiedMs(this.#path);
      if (modified === this.#modifiedMs) return;
      this.#workers = read(this.#path);
      this.#modifiedMs = modified;
      this.#logger.info({ workers: this.#workers.size }, 'enrolled workers read again');
    } catch (error) {
      this.#logger.error(`the enrolled workers could not be read again: ${messageOf(error)}`);
    }
  }
}

function modifiedMs(path: string): number {
  try {
    return statSync(path).mtimeMs;
  } catch (cause) {
    throw new CodedError('key_file_unfit', `${path} cannot be read.`, { cause });
  }
}

function read(path: string): Map<string, PublicKey> {
  try {
    const file = EnrolledWorkersFile.parse(JSON.parse(readFileSync(path, 'utf8')));
    return new Map(
      file.workers.map(({ id, publicKey }) => {
        const key = publicKeyFromBase64(publicKey);
        if (workerIdOf(key) !== id) throw new Error(`${id} is not the id of its key`);
        return [id, key];
      }),
    );
  } catch (cause) {
    throw new CodedError('key_file_unfit', `${path} is not a list of enrolled workers: ${messageOf(cause)}.`, {
      cause,
    });
  }
}
