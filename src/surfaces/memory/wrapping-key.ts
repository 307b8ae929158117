import { createHmac } from 'node:crypto';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { KEY_BYTES, seal, unseal } from './sealing.ts';

/** A key that was sealed under a wrapping key, and which one that was. */
export interface WrappedKey {
  readonly under: string;
  readonly sealed: Buffer;
}

interface NamedKey {
  readonly id: string;
  readonly bytes: Buffer;
}

/**
 * The keys that the keys of owners are sealed under. A file has one on each line: the first seals, the others
 * open what they sealed before, until everything is sealed anew.
 */
export class WrappingKey {
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

  /** Seals a key for one purpose; it can be opened for that purpose only. */
  wrap(purpose: string, key: Uint8Array): WrappedKey {
    return { under: this.id, sealed: seal(this.#current.bytes, ['key', purpose], key) };
  }

  /** Throws CodedError `key_file_unfit` where the key that sealed it is not in the file. */
  unwrap(purpose: string, { under, sealed }: WrappedKey): Buffer {
    const key = this.#keys.find(({ id }) => id === under);
    const bytes = key && unseal(key.bytes, ['key', purpose], sealed);
    if (bytes === undefined)
      throw new CodedError('key_file_unfit', `The wrapping key ${under} of the memories is missing or another.`, {
        hint: 'put the key back that the memories were made with; without it they cannot be read',
      });
    return bytes;
  }

  get #current(): NamedKey {
    const [first] = this.#keys;
    if (first === undefined) throw new Error('A wrapping key without a key.');
    return first;
  }
}
