import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CodedError, systemCodeOf } from '../errors/coded-error.ts';
import { syncFolder, writeDurably } from './durable-file.ts';
import { sha256Hex } from './sha256.ts';

const NAME = /^[0-9a-f]{64}$/;

/**
 * Content-addressed files: the name of a blob is its SHA-256, so that a reader need not trust the disk or the
 * writer. Any number of processes may read and write at once.
 */
export class BlobStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Stores the bytes and returns their digest (64 hexadecimal digits) once they are durable. `removeOld`
   * removes the temporary files that a crash leaves.
   */
  async put(bytes: Uint8Array): Promise<string> {
    const digest = sha256Hex(bytes);
    const folder = join(this.#folder, digest.slice(0, 2));
    const path = join(folder, digest);
    try {
      // A blob is removed by its age, so storing it again renews the age.
      const now = new Date();
      await utimes(path, now, now);
      return digest;
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error;
    }
    await writeDurably({ path, bytes });
    return digest;
  }

  /**
   * Returns the bytes of a blob, checked against its name. Throws CodedError `blob_missing` where it is
   * absent, damaged, or larger than `maxBytes`.
   */
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

  /**
   * Stores what the source yields, up to `maxBytes`, with one piece in memory at a time. Returns the digest
   * and the length once the blob is durable. Throws CodedError `body_too_large`, or what the source throws;
   * nothing is stored then.
   */
  async putStream(
    source: AsyncIterable<Uint8Array | string>,
    maxBytes: number,
  ): Promise<{ sha256: string; bytes: number }> {
    const hash = createHash('sha256');
    let bytes = 0;
    const aside = join(this.#folder, `${randomBytes(12).toString('hex')}.tmp`);
    await mkdir(this.#folder, { recursive: true });
    const file = await open(aside, 'wx', 0o640);
    try {
      for await (const piece of source) {
        const chunk = typeof piece === 'string' ? Buffer.from(piece) : piece;
        bytes += chunk.length;
        if (bytes > maxBytes)
          throw new CodedError('body_too_large', `More than ${maxBytes} bytes came, which is the most for one object.`);
        hash.update(chunk);
        await file.write(chunk);
      }
      await file.sync();
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    const sha256 = hash.digest('hex');
    const path = join(this.#folder, sha256.slice(0, 2), sha256);
    await mkdir(dirname(path), { recursive: true });
    await rename(aside, path);
    await syncFolder(dirname(path));
    return { sha256, bytes };
  }

  /**
   * Yields the bytes of a blob, a piece at a time. Throws CodedError `blob_missing`; where the digest does
   * not match, it throws after the last piece.
   */
  async *read(digest: string): AsyncGenerator<Buffer> {
    if (!NAME.test(digest)) throw new CodedError('blob_missing', 'That is not the name of a stored object.');
    const hash = createHash('sha256');
    try {
      for await (const piece of createReadStream(join(this.#folder, digest.slice(0, 2), digest))) {
        const chunk = piece as Buffer;
        hash.update(chunk);
        yield chunk;
      }
    } catch (cause) {
      throw new CodedError('blob_missing', `The stored object ${digest} cannot be read.`, { cause });
    }
    if (hash.digest('hex') !== digest) throw new CodedError('blob_missing', `The stored object ${digest} is damaged.`);
  }

  /** Renews the age of a blob, so that `removeOld` spares it. Returns whether the blob exists. */
  async touch(digest: string): Promise<boolean> {
    const now = new Date();
    return utimes(join(this.#folder, digest.slice(0, 2), digest), now, now).then(
      () => true,
      () => false,
    );
  }

  /** Removes blobs that were neither stored nor touched for `ageMs`; returns how many. */
  async removeOld(ageMs: number): Promise<number> {
    const before = Date.now() - ageMs;
    let removed = 0;
    for (const entry of await readdir(this.#folder).catch(() => [])) {
      const inside = join(this.#folder, entry);
      const paths = entry.endsWith('.tmp')
        ? [inside]
        : (await readdir(inside).catch(() => [])).map((name) => join(inside, name));
      for (const path of paths) {
        if (await removeOlder(path, before)) removed += 1;
      }
    }
    return removed;
  }
}

/**
 * Removes a file that is older than a time (ms); whether it did. Who stores the same blob at this moment has
 * only renewed its age: the file is moved aside first, and comes back where its age was renewed meanwhile.
 */
async function removeOlder(path: string, before: number): Promise<boolean> {
  const isOld = async (file: string) => {
    const found = await stat(file).catch(() => undefined);
    return found !== undefined && found.mtimeMs < before;
  };
  if (!(await isOld(path))) return false;
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await rename(path, aside);
  } catch {
    return false;
  }
  const isStillOld = await isOld(aside);
  // Not by a second rename: somebody may have stored it anew.
  if (!isStillOld) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
  return isStillOld;
}
