import { createHash, createHmac, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import sodium from 'sodium-native';
import { CodedError } from '../errors/coded-error.ts';

/** The role a key signs for. A signature counts only for the documents of its role. */
export const KEY_ROLES = ['api', 'worker', 'attestor', 'registry'] as const;
export type KeyRole = (typeof KEY_ROLES)[number];

/** The DER bytes that stand before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo (RFC 8410). */
const SPKI_HEADER = Buffer.from('302a300506032b6570032100', 'hex');

/** An Ed25519 public key that passed the strict point check. */
export interface PublicKey {
  /** SHA-256 of the SubjectPublicKeyInfo, as 64 hexadecimal digits. */
  readonly id: string;
  /** The 32 bytes, as base64. */
  readonly raw: string;
  readonly bytes: Buffer;
}

/**
 * A private key that never leaves this object. It signs, and derives secrets that only its holders can
 * derive.
 */
export class SigningKey {
  readonly public: PublicKey;
  readonly #secret: Buffer;
  readonly #seed: Buffer;

  /** From the 32 bytes of the seed (RFC 8032, section 5.1.5). */
  constructor(seed: Buffer) {
    const raw = Buffer.alloc(sodium.crypto_sign_PUBLICKEYBYTES);
    this.#seed = seed;
    this.#secret = Buffer.alloc(sodium.crypto_sign_SECRETKEYBYTES);
    sodium.crypto_sign_seed_keypair(raw, this.#secret, seed);
    this.public = publicKeyFromRaw(raw);
  }

  /** The Ed25519 signature over these bytes, 64 bytes (RFC 8032). */
  sign(bytes: Uint8Array): Buffer {
    const signature = Buffer.allocUnsafe(sodium.crypto_sign_BYTES);
    sodium.crypto_sign_detached(signature, bytes, this.#secret);
    return signature;
  }

  /** 32 bytes for `purpose`, the same for every holder of this key: HMAC-SHA-256 keyed with the seed. */
  derive(purpose: string): Buffer {
    return createHmac('sha256', this.#seed).update(purpose).digest();
  }
}

/**
 * A public key from its 32 bytes. Refuses what is not the canonical encoding of a point in the group of prime
 * order: for a point of small order, anyone can write a signature that verifies for any message (measured:
 * node:crypto accepts it).
 *
 * Throws CodedError `key_file_unfit`.
 */
export function publicKeyFromRaw(raw: Uint8Array): PublicKey {
  if (raw.length !== 32)
    throw new CodedError('key_file_unfit', `An Ed25519 public key has 32 bytes, not ${raw.length}.`);
  const bytes = Buffer.from(raw);
  if (!sodium.crypto_core_ed25519_is_valid_point(bytes))
    throw new CodedError('key_file_unfit', 'The public key is not a canonical point of prime order.');
  return {
    id: createHash('sha256')
      .update(Buffer.concat([SPKI_HEADER, bytes]))
      .digest('hex'),
    raw: bytes.toString('base64'),
    bytes,
  };
}

/** A public key from the canonical base64 of its 32 bytes. Throws CodedError `key_file_unfit`. */
export function publicKeyFromBase64(text: string): PublicKey {
  const raw = Buffer.from(text, 'base64');
  if (raw.toString('base64') !== text)
    throw new CodedError('key_file_unfit', 'The public key is not canonical base64.');
  return publicKeyFromRaw(raw);
}

/** A signing key from a PKCS#8 PEM text. Throws CodedError `key_file_unfit`. */
export function signingKeyFromPem(pem: string): SigningKey {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new CodedError('key_file_unfit', 'The key file is not a PKCS#8 PEM private key.', { cause });
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new CodedError('key_file_unfit', `The key must be Ed25519, not ${key.asymmetricKeyType ?? 'unknown'}.`);
  }
  return new SigningKey(Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url'));
}

/** A new key, as PKCS#8 PEM. */
export function generateSigningKeyPem(): string {
  return generateKeyPairSync('ed25519', {
    privateKeyEncoding: { format: 'pem', type: 'pkcs8' },
    publicKeyEncoding: { format: 'pem', type: 'spki' },
  }).privateKey;
}

/**
 * Whether this key made the signature over these bytes. The key has passed the strict point check already.
 */
export function verifyBytes(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  return (
    signature.length === sodium.crypto_sign_BYTES && sodium.crypto_sign_verify_detached(signature, bytes, key.bytes)
  );
}

/**
 * The id of a worker: `w-` and the first 32 hexadecimal digits of its key's id. It is made from the key, so
 * that no worker can announce itself under another's id.
 */
export function workerIdOf(key: PublicKey): string {
  return `w-${key.id.slice(0, 32)}`;
}
