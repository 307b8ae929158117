import { createHmac } from 'node:crypto';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { KEY_BYTES, seal, unseal } from './sealing.ts';

/** A key that was sealed under a wrapping key, and which one that was. */
export interface WrappedKey {
  readonly under: string;
  readonly sealed: Buffer;
}

/**
 * What seals the keys of owners: keys in a file, or a server that never gives its key away. All methods throw
 * CodedErrors that say what to do. Any number of calls may run at once.
 */
export interface KeyWrapping {
  /** The name of the key that seals now. */
  current(): Promise<string>;
  /** Seals a key for one purpose; it can be opened for that purpose only. */
  wrap(purpose: string, key: Uint8Array): Promise<WrappedKey>;
  unwrap(purpose: string, wrapped: WrappedKey): Promise<Buffer>;
  /** Whether this is what sealed it, now or before a rotation. */
  isOwn(wrapped: WrappedKey): boolean;
  /** Seals under the key of now what it has sealed before. */
  rewrap(purpose: string, wrapped: WrappedKey): Promise<WrappedKey>;
}

interface NamedKey {
  readonly id: string;
  readonly bytes: Buffer;
}

/**
 * Wrapping keys in a file, one on each line: the first seals, the others open what they sealed before, until
 * everything is sealed anew.
 */
export class WrappingKey implements KeyWrapping {
  readonly #keys: readonly NamedKey[];

  private constructor(keys: readonly NamedKey[]) {
    this.#keys = keys;
  }

  /** Throws CodedError `key_file_unfit`. */
  static read(path: string): WrappingKey {
    const lines = readSecretFile(path).reveal().trim().split('\n');
    return new WrappingKey(
      lines.map((line) => {
        const bytes = Buffer.from(line.trim(), 'base64url');
        if (bytes.length !== KEY_BYTES || bytes.toString('base64url') !== line.trim())
          throw new CodedError('key_file_unfit', `${path} does not hold keys of 32 bytes in base64url, one on a line.`);
        return { id: createHmac('sha256', bytes).update('id of a wrapping key').digest('hex').slice(0, 16), bytes };
      }),
    );
  }

  /** The id of the key that seals now. */
  get id(): string {
    return this.#current.id;
  }

  current(): Promise<string> {
    return Promise.resolve(this.id);
  }

  wrap(purpose: string, key: Uint8Array): Promise<WrappedKey> {
    return Promise.resolve({ under: this.id, sealed: seal(this.#current.bytes, ['key', purpose], key) });
  }

  async unwrap(purpose: string, { under, sealed }: WrappedKey): Promise<Buffer> {
    const key = this.#keys.find(({ id }) => id === under);
    const bytes = key && unseal(key.bytes, ['key', purpose], sealed);
    if (bytes === undefined)
      throw new CodedError('key_file_unfit', `The wrapping key ${under} of the memories is missing or another.`, {
        hint: 'put the key back that the memories were made with; without it they cannot be read',
      });
    return Promise.resolve(bytes);
  }

  isOwn({ under }: WrappedKey): boolean {
    return this.#keys.some(({ id }) => id === under);
  }

  async rewrap(purpose: string, wrapped: WrappedKey): Promise<WrappedKey> {
    return this.wrap(purpose, await this.unwrap(purpose, wrapped));
  }

  get #current(): NamedKey {
    const [first] = this.#keys;
    if (first === undefined) throw new Error('A wrapping key without a key.');
    return first;
  }
}

/** What seals keys now, and what sealed keys before that are not sealed anew yet. */
export class ChangedWrapping implements KeyWrapping {
  readonly #now: KeyWrapping;
  readonly #before: KeyWrapping;

  constructor(now: KeyWrapping, before: KeyWrapping) {
    this.#now = now;
    this.#before = before;
  }

  current(): Promise<string> {
    return this.#now.current();
  }

  wrap(purpose: string, key: Uint8Array): Promise<WrappedKey> {
    return this.#now.wrap(purpose, key);
  }

  unwrap(purpose: string, wrapped: WrappedKey): Promise<Buffer> {
    return (this.#before.isOwn(wrapped) ? this.#before : this.#now).unwrap(purpose, wrapped);
  }

  isOwn(wrapped: WrappedKey): boolean {
    return this.#now.isOwn(wrapped) || this.#before.isOwn(wrapped);
  }

  async rewrap(purpose: string, wrapped: WrappedKey): Promise<WrappedKey> {
    if (this.#now.isOwn(wrapped)) return this.#now.rewrap(purpose, wrapped);
    return this.#now.wrap(purpose, await this.#before.unwrap(purpose, wrapped));
  }
}
