import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { syncFolder, writeDurably } from '../../ground/blobs/durable-file.ts';
import { systemCodeOf } from '../../ground/errors/coded-error.ts';
import { KEY_BYTES } from './sealing.ts';
import type { KeyWrapping, WrappedKey } from './wrapping-key.ts';

const KeyFile = z.strictObject({
  version: z.literal(1),
  under: z.string().min(1).max(512),
  sealed: z.base64(),
});

const NAME = /^(?<holder>[a-z]+_[0-9a-f]{24}|lookup)\.(?<version>[0-9]{1,9})\.key$/;

/**
 * The keys of owners: one small file for each version of each owner's key, sealed by what wraps keys, in a
 * folder beside the database and never in it. To destroy the file is therefore to destroy what was sealed,
 * wherever the database, its write-ahead log, a replica or a backup of it still has the bytes.
 */
export class KeyStore {
  readonly #folder: string;
  readonly #wrapping: KeyWrapping;

  constructor(folder: string, wrapping: KeyWrapping) {
    this.#folder = folder;
    this.#wrapping = wrapping;
  }

  /** A new random key, which is on disk when this resolves; what a crash left under this version goes. */
  async create(holder: string, version: number): Promise<Buffer> {
    const key = randomBytes(KEY_BYTES);
    await this.#write(holder, version, await this.#wrapping.wrap(purposeOf(holder, version), key));
    return key;
  }

  /**
   * The key; undefined where it was destroyed or never made. Throws CodedErrors `key_file_unfit`, and
   * `memory_unavailable` where a server seals keys that does not answer.
   */
  async get(holder: string, version: number): Promise<Buffer | undefined> {
    let text: string;
    try {
      text = await readFile(this.#path(holder, version), 'utf8');
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    return this.#wrapping.unwrap(purposeOf(holder, version), wrappedIn(text));
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
    const current = await this.#wrapping.current();
    let count = 0;
    for (const folder of await namesIn(this.#folder))
      for (const name of await namesIn(join(this.#folder, folder))) {
        const { holder, version } = NAME.exec(name)?.groups ?? {};
        if (holder === undefined) continue;
        const wrapped = wrappedIn(await readFile(join(this.#folder, folder, name), 'utf8'));
        if (wrapped.under === current) continue;
        const purpose = purposeOf(holder, Number(version));
        await this.#write(holder, Number(version), await this.#wrapping.rewrap(purpose, wrapped));
        count += 1;
      }
    return count;
  }

  async #write(holder: string, version: number, { under, sealed }: WrappedKey): Promise<void> {
    const path = this.#path(holder, version);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const bytes = JSON.stringify({ version: 1, under, sealed: sealed.toString('base64') });
    await writeDurably({ path, bytes });
  }

  /** 256 folders, by the last digits of the id, so that none has too many names. */
  #path(holder: string, version: number): string {
    return join(this.#folder, holder.slice(-2), `${holder}.${version}.key`);
  }
}

const purposeOf = (holder: string, version: number) => `${holder}.${version}`;

function wrappedIn(text: string): WrappedKey {
  const { under, sealed } = KeyFile.parse(JSON.parse(text));
  return { under, sealed: Buffer.from(sealed, 'base64') };
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
