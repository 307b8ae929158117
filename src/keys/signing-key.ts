import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { CodedError } from '../errors/coded-error.ts';

/** The role a key signs for. A signature counts only for the documents of its role. */
export const KEY_ROLES = ['api', 'worker', 'attestor'] as const;
export type KeyRole = (typeof KEY_ROLES)[number];

/** The DER bytes that stand before the 32 bytes of an Ed25519 key in SubjectPublicKeyInfo (RFC 8410). */
const SPKI_HEADER = Buffer.from('302a300506032b6570032100', 'hex');

/** An Ed25519 public key that passed the strict point check. */
export interface PublicKey {
  /** SHA-256 of the SubjectPublicKeyInfo, as 64 hexadecimal digits. */
  readonly id: string;
  /** The 32 bytes, as base64. */
  readonly raw: string;
  readonly key: KeyObject;
}

export interface SigningKey {
  readonly public: PublicKey;
  readonly private: KeyObject;
}

/**
 * A public key from its 32 bytes. Refuses non-canonical encodings and points of small order: with those, a
 * signature that anyone can write verifies for any message (measured: node:crypto accepts it).
 *
 * Throws CodedError `key_file_unfit`.
 */
export function publicKeyFromRaw(raw: Uint8Array): PublicKey {
  if (raw.length !== 32)
    throw new CodedError('key_file_unfit', `An Ed25519 public key has 32 bytes, not ${raw.length}.`);
  let point: InstanceType<typeof ed25519.Point>;
  try {
    point = ed25519.Point.fromBytes(raw, false);
  } catch (cause) {
    throw new CodedError('key_file_unfit', 'The public key is not a canonical point of the curve.', { cause });
  }
  if (point.isSmallOrder()) throw new CodedError('key_file_unfit', 'The public key is a point of small order.');
  const spki = Buffer.concat([SPKI_HEADER, raw]);
  return {
    id: createHash('sha256').update(spki).digest('hex'),
    raw: Buffer.from(raw).toString('base64'),
    key: createPublicKey({ key: spki, format: 'der', type: 'spki' }),
  };
}

/** A public key from the base64 of its 32 bytes; the base64 must be canonical. */
export function publicKeyFromBase64(text: string): PublicKey {
  const raw = Buffer.from(text, 'base64');
  if (raw.toString('base64') !== text)
    throw new CodedError('key_file_unfit', 'The public key is not canonical base64.');
  return publicKeyFromRaw(raw);
}

/** A signing key from a PKCS#8 PEM text. */
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
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { public: publicKeyFromRaw(spki.subarray(SPKI_HEADER.length)), private: key };
}

/** A new key, as PKCS#8 PEM. */
export function generateSigningKeyPem(): string {
  return generateKeyPairSync('ed25519', {
    privateKeyEncoding: { format: 'pem', type: 'pkcs8' },
    publicKeyEncoding: { format: 'pem', type: 'spki' },
  }).privateKey;
}

export function signBytes(key: SigningKey, bytes: Uint8Array): Buffer {
  return sign(null, bytes, key.private);
}

/** Whether the signature is this key's over these bytes. The key has passed the strict check already. */
export function verifyBytes(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  return signature.length === 64 && verify(null, bytes, key.key, signature);
}

/**
 * The id of a worker is made from its key, so that nobody can announce itself under another worker's id:
 * `w-` and the first 32 hexadecimal digits of the key id.
 */
export function workerIdOf(key: PublicKey): string {
  return `w-${key.id.slice(0, 32)}`;
}
