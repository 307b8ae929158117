import { ed25519 } from '@noble/curves/ed25519.js';

/** What callers need of libsodium, with the same strictness: RFC 8032 encodings, points of prime order. */
const sodium = {
  crypto_sign_PUBLICKEYBYTES: 32,
  crypto_sign_SECRETKEYBYTES: 64,
  crypto_sign_BYTES: 64,
  crypto_core_ed25519_is_valid_point(bytes: Uint8Array): boolean {
    try {
      const point = ed25519.Point.fromBytes(Uint8Array.from(bytes));
      return !point.isSmallOrder() && point.isTorsionFree();
    } catch {
      return false;
    }
  },
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
    try {
      return ed25519.verify(Uint8Array.from(signature), Uint8Array.from(message), Uint8Array.from(publicKey), {
        zip215: false,
      });
    } catch {
      return false;
    }
  },
  /** The secret key is the seed and, after it, the public key. */
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void {
    publicKey.set(ed25519.getPublicKey(Uint8Array.from(seed)));
    secretKey.set(seed);
    secretKey.set(publicKey, 32);
  },
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void {
    signature.set(ed25519.sign(Uint8Array.from(message), Uint8Array.from(secretKey.subarray(0, 32))));
  },
};
export default sodium;
