import { createCipheriv, createDecipheriv } from 'node:crypto';
import { freshRandom } from '../../ground/keys/random.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** The length of every key here: AES-256. */
export const KEY_BYTES = 32;

/**
 * Seals bytes under a key by AES-256-GCM: a random nonce, the ciphertext, the tag. `context` says what these
 * bytes are and where they stand; they can be opened for the same context only.
 */
export function seal(key: Uint8Array, context: readonly (string | number)[], plain: Uint8Array): Buffer {
  const nonce = freshRandom(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(contextBytes(context));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** What was sealed; undefined where the key or the context is another, or a byte was changed. */
export function unseal(key: Uint8Array, context: readonly (string | number)[], sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES));
  decipher.setAAD(contextBytes(context));
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
}

const contextBytes = (context: readonly (string | number)[]) => Buffer.from(JSON.stringify(context));
