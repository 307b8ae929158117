import { hash } from 'node:crypto';

// One call for bytes that are all there: making a Hash object costs as much as hashing a ticket.

export function sha256(bytes: Uint8Array | string): Buffer {
  return hash('sha256', bytes, 'buffer');
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}
