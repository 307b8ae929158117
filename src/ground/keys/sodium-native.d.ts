/** The part of sodium-native that signing-key.ts uses; the package has no types of its own. */
declare module 'sodium-native' {
  const sodium: {
    readonly crypto_sign_BYTES: number;
    readonly crypto_sign_PUBLICKEYBYTES: number;
    readonly crypto_sign_SECRETKEYBYTES: number;
    crypto_sign_seed_keypair(publicKey: Buffer, secretKey: Buffer, seed: Buffer): void;
    crypto_sign_detached(signature: Buffer, message: Uint8Array, secretKey: Buffer): void;
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Buffer): boolean;
    crypto_core_ed25519_is_valid_point(point: Buffer): boolean;
  };
  export default sodium;
}
