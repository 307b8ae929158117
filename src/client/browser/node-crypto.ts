import { sha256 } from '@noble/hashes/sha2.js';
import { Buffer } from 'buffer';

/** What verifying needs of node:crypto, for the bundle that runs in browsers. */
export function createHash(algorithm: string) {
  if (algorithm !== 'sha256') throw new Error(`There is no ${algorithm} here.`);
  const hash = sha256.create();
  return {
    update(bytes: Uint8Array | string) {
      hash.update(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : Uint8Array.from(bytes));
      return this;
    },
    digest(encoding?: 'hex' | 'base64') {
      const bytes = Buffer.from(hash.digest());
      return encoding === undefined ? bytes : bytes.toString(encoding);
    },
  };
}

export function hash(algorithm: string, bytes: Uint8Array | string, encoding: 'hex' | 'buffer') {
  const hashed = createHash(algorithm).update(bytes);
  return encoding === 'buffer' ? hashed.digest() : hashed.digest(encoding);
}

function notHere(): never {
  throw new Error('A browser holds no signing keys.');
}
export {
  notHere as createHmac,
  notHere as createPrivateKey,
  notHere as generateKeyPairSync,
  notHere as timingSafeEqual,
  notHere as randomBytes,
};
