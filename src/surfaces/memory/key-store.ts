import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { syncFolder, writeDurably } from '../../ground/blobs/durable-file.ts';
import { systemCodeOf } from '../../ground/errors/coded-error.ts';
import { KEY_BYTES } from './sealing.ts';
import type { WrappingKey } from './wrapping-key.ts';

const KeyFile = z.strictObject({
  version: z.literal(1),
  under: z.string().regex(/^[0-9a-f]{16}$/),
  sealed: z.base64(),
});

const NAME = /^(?<holder>[a-z]+_[0-9a-f]{24}|lookup)\.(?<version>[0-9]{1,9})\.key$/;

/**
 * The keys of owners: one small file for each version of each owner's key, sealed under the wrapping key, in
 * a folder beside the database and never in it. To destroy the file is therefore to destroy what was sealed,
 * wherever the database, its write-ahead log, a replica or a backup of it still has the bytes.
 */
export class KeyStore {
  readonly #folder: string;
  readonly #wrapping: WrappingKey;

  constructor(folder: string, wrapping: WrappingKey) {
    this.#folder = folder;
    this.#wrapping = wrapping;
  }

  /** A new random key, which is on disk when this resolves; what a crash left under this version goes. */
  async create(holder: string, version: number): Promise<Buffer> {
    const key = randomBytes(KEY_BYTES);
    await this.#write(holder, version, key);
    return key;
  }

  /** The key; undefined where it was destroyed or never made. Throws CodedError `key_file_unfit`. */
  async get(holder: string, version: number): Promise<Buffer | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path(holder, version), 'utf8');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const { under, sealed } = KeyFile.parse(JSON.parse(text));
    return this.#wrapping.unwrap(`${holder}.${version}`, { under, sealed: Buffer.from(sealed, 'base64') });
  }

  /**
   * Destroys the keys of a holder whose version is below this one. When it resolves, the files are
   * overwritten and gone on disk. Returns how many there were.
   */
  async destroyBelow(holder: string, version: number): Promise<number> {
    const folder = dirname(this.#path(holder, 0));
    const old = (await namesIn(folder)).flatMap((name) => {
      const { holder: whose, version: of } = NAME.exec(name)?.groups ?? {};
      return whose === holder && Number(of) < version ? [join(folder, name)] : [];
    });
    for (const path of old) {
      await overwrite(path);
      await rm(path, { force: true });
    }
    if (old.length > 0) await syncFolder(folder);
    return old.length;
  }

  /**
   * Seals under the current wrapping key what is sealed under an older one. Returns how many keys that were.
   */
  async rewrapAll(): Promise<number> {
    let count = 0;
    for (const folder of await namesIn(this.#folder))
      for (const name of await namesIn(join(this.#folder, folder))) {
        const { holder, version } = NAME.exec(name)?.groups ?? {};
        if (holder === undefined) continue;
        const text = await readFile(join(this.#folder, folder, name), 'utf8');
        if (KeyFile.parse(JSON.parse(text)).under === this.#wrapping.id) continue;
        const key = await this.get(holder, Number(version));
        if (key !== undefined) await this.#write(holder, Number(version), key);
        count += 1;
      }
    return count;
  }

  async #write(holder: string, version: number, key: Buffer): Promise<void> {
    const path = this.#path(holder, version);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const { under, sealed } = this.#wrapping.wrap(`${holder}.${version}`, key);
    const bytes = JSON.stringify({ version: 1, under, sealed: sealed.toString('base64') });
    await writeDurably({ path, bytes });
  }

  /** 256 folders, by the last digits of the id, so that none has too many names. */
  #path(holder: string, version: number): string {
    return join(this.#folder, holder.slice(-2), `${holder}.${version}.key`);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

async function overwrite(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    await file.write(Buffer.alloc(size), 0, size, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}
