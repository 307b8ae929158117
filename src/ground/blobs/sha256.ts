import { hash } from 'node:crypto';

// `crypto.hash` is one call: creating a Hash object would cost as much as hashing a ticket.

/** The 32 bytes of the SHA-256 digest. */
export function sha256(bytes: Uint8Array | string): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** The SHA-256 digest as 64 hexadecimal digits. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}
