import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Limits } from './limits.ts';

export const SCOPES = ['submit', 'read', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** Who a request comes from. */
export interface Caller {
  readonly tenant: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly keyId: string;
  /** Of the tenant and of the key itself: both hold. */
  readonly limits: { readonly tenant: Limits; readonly key: Limits };
}

/** `csk_<key id>_<secret>`: the prefix is for secret scanners, the id finds the record, the secret is 256 random bits. */
const FORMAT = /^csk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

export function newApiKey(): { text: string; keyId: string; hash: string } {
  const keyId = randomBytes(8).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  return { text: `csk_${keyId}_${secret}`, keyId, hash: hashSecret(secret) };
}

export function parseApiKey(text: string): { keyId: string; hash: string } | undefined {
  const [, keyId, secret] = FORMAT.exec(text) ?? [];
  return keyId === undefined || secret === undefined ? undefined : { keyId, hash: hashSecret(secret) };
}

/** Constant-time comparison of two hashes of equal length. */
export function hashesEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'hex'), Buffer.from(b, 'hex')];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** SHA-256 is enough for a secret of 256 random bits, and no lever for a denial of service as a slow hash would be. */
function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
