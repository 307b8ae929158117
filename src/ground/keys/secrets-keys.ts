import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../errors/coded-error.ts';
import { readSigningKey } from './key-file.ts';
import { freshRandom } from './random.ts';
import type { SigningKey } from './signing-key.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** So many hexadecimal digits of a key's id name it in what it has sealed. */
const NAME_DIGITS = 16;

/**
 * The keys that seal what the service must be able to read again but may not lie open in Redis, and that mark
 * what it hands out and stores nowhere. The first seals and marks; each of them opens and recognizes, so that
 * one can follow another without a break. They are not the keys that sign tickets.
 */
export class SecretsKeys {
  readonly #first: SigningKey;
  readonly #all: readonly SigningKey[];

  constructor(first: SigningKey, ...others: readonly SigningKey[]) {
    this.#first = first;
    this.#all = [first, ...others];
  }

  /** The keys in these files. Throws CodedError `key_file_unfit`. */
  static read([first = '', ...others]: readonly string[]): SecretsKeys {
    return new SecretsKeys(readSigningKey(first), ...others.map(readSigningKey));
  }

  /**
   * Seals bytes for one place, which only `open` with the same `place` gives back: AES-256-GCM under a key of
   * that purpose, as `<16 digits of the key's id>.<base64url of nonce, ciphertext and tag>`.
   */
  seal(place: string, bytes: Uint8Array): string {
    const nonce = freshRandom(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', sealingKey(this.#first), nonce).setAAD(Buffer.from(place));
    const sealed = [nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()];
    return `${nameOf(this.#first)}.${Buffer.concat(sealed).toString('base64url')}`;
  }

  /**
   * What was sealed for this place. Throws CodedError `key_file_unfit` where no key of these sealed it, and
   * where it was sealed for another place or changed since.
   */
  open(place: string, sealed: string): Buffer {
    const [name = '', text = ''] = sealed.split('.');
    const key = this.#all.find((one) => nameOf(one) === name);
    if (key === undefined)
      throw new CodedError('key_file_unfit', `A secret was sealed by the key ${name}…, which is not known here.`, {
        hint: 'name the file of that key in COUNTERSIGN_SECRETS_KEY_FILES, after the others: docs/keys.md',
      });
    const bytes = Buffer.from(text, 'base64url');
    try {
      const decipher = createDecipheriv('aes-256-gcm', sealingKey(key), bytes.subarray(0, NONCE_BYTES))
        .setAAD(Buffer.from(place))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new CodedError('key_file_unfit', 'A sealed secret was changed, or moved from another place.', { cause });
    }
  }

  /** Whether the key that seals now has sealed this. */
  isCurrent(sealed: string): boolean {
    return sealed.startsWith(`${nameOf(this.#first)}.`);
  }

  /** The mark of a text that is handed out: HMAC-SHA-256 under a key of this purpose. */
  mark(purpose: string, text: string): Buffer {
    return markOf(this.#first, purpose, text);
  }

  /** Whether one of the keys made this mark. */
  recognizes(purpose: string, text: string, mark: Buffer): boolean {
    return this.#all.some((key) => {
      const own = markOf(key, purpose, text);
      return own.length === mark.length && timingSafeEqual(own, mark);
    });
  }
}

function nameOf(key: SigningKey): string {
  return key.public.id.slice(0, NAME_DIGITS);
}

function sealingKey(key: SigningKey): Buffer {
  return key.derive('countersign/sealed-secrets');
}

function markOf(key: SigningKey, purpose: string, text: string): Buffer {
  return createHmac('sha256', key.derive(`countersign/${purpose}`))
    .update(text)
    .digest();
}
