import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, systemCodeOf } from '../errors/coded-error.ts';
import { writeDurably } from './durable-file.ts';

const NAME = /^[0-9a-f]{64}$/;

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * Content-addressed files: the SHA-256 of a blob is its name, so a reader needs to trust neither the disk nor
 * whoever wrote it. Any number of processes may read and write at once.
 */
export class BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Stores the bytes and returns their digest, when they are durable. What a crash leaves aside, `removeOld` clears. */
  async put(bytes: Uint8Array): Promise<string> {
    const digest = sha256Hex(bytes);
    const folder = join(this.#folder, digest.slice(0, 2));
    const path = join(folder, digest);
    try {
      // Its age decides when it may be removed, so being stored again makes it young.
      const now = new Date();
      await utimes(path, now, now);
      return digest;
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
    await writeDurably({ path, bytes });
    return digest;
  }

  /** The bytes of a blob, checked against its name. Throws CodedError `blob_missing`. */
  async get(digest: string, maxBytes: number): Promise<Buffer> {
    if (!NAME.test(digest)) throw new CodedError('blob_missing', 'That is not the name of a stored object.');
    const path = join(this.#folder, digest.slice(0, 2), digest);
    try {
      if ((await stat(path)).size > maxBytes)
        throw new CodedError('blob_missing', `The stored object ${digest} is larger than it may be.`);
      const bytes = await readFile(path);
      if (sha256Hex(bytes) !== digest) throw new CodedError('blob_missing', `The stored object ${digest} is damaged.`);
      return bytes;
    } catch (cause) {
      if (cause instanceof CodedError) throw cause;
      throw new CodedError('blob_missing', `The stored object ${digest} cannot be read.`, { cause });
    }
  }

  /** Removes blobs that nobody has stored for `ageMs`; returns how many. */
  async removeOld(ageMs: number): Promise<number> {
    const before = Date.now() - ageMs;
    let removed = 0;
    for (const folder of await readdir(this.#folder).catch(() => [])) {
      const inside = join(this.#folder, folder);
      for (const name of await readdir(inside).catch(() => [])) {
        const path = join(inside, name);
        const found = await stat(path).catch(() => undefined);
        if (found === undefined || found.mtimeMs >= before) continue;
        await rm(path, { force: true });
        removed += 1;
      }
    }
    return removed;
  }
}
