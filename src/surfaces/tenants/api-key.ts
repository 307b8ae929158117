import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Limits } from './limits.ts';

/**
 * What a key may be used for; each scope stands for itself alone.
 *
 * - `submit` sends work, and cancels and erases what the key itself made.
 * - `read` reads what the key itself made, and what is the same for everyone.
 * - `read_all` reads what every key of the tenant made: prompts, answers, files and events.
 * - `tenant_admin` manages the tenant: its keys, its webhooks, and the work of all its keys.
 * - `operator` is the power over the installation. Only keys of the tenant `HOUSE` can have it.
 */
export const SCOPES = ['submit', 'read', 'read_all', 'tenant_admin', 'operator'] as const;
export type Scope = (typeof SCOPES)[number];

/** The tenant of the operator. Its keys may hold the scope `operator`; those of every other tenant never. */
export const HOUSE = 'operator';

/** Whether keys of this tenant may hold all of these scopes. */
export function mayHold(tenant: string, scopes: readonly Scope[]): boolean {
  return tenant === HOUSE || !scopes.includes('operator');
}

/** The sender of an authenticated request. */
export interface Caller {
  readonly tenant: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly keyId: string;
  /** The ids of the key and of those that it replaces: whose work it counts as its own. */
  readonly ownKeys: ReadonlySet<string>;
  /** When the key ends, ISO 8601; undefined where it does not. */
  readonly expiresAt: string | undefined;
  /**
   * Limits of the tenant and of the key itself; both apply. `account` is the key whose budgets these are,
   * where this one has replaced it.
   */
  readonly limits: { readonly tenant: Limits; readonly key: Limits; readonly account?: string | undefined };
}

/**
 * `csk_<key id>_<secret>`: the prefix is for secret scanners, the id finds the record, the secret is 256
 * random bits.
 */
const FORMAT = /^csk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

/**
 * A new random key: its text for the owner, and the id and the hash (hex SHA-256 of the secret) that are
 * stored.
 */
export function newApiKey(): { text: string; keyId: string; hash: string } {
  const keyId = randomBytes(8).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  return { text: `csk_${keyId}_${secret}`, keyId, hash: hashSecret(secret) };
}

/** The id and the hash of a key's text; undefined if the text does not have the form of a key. */
export function parseApiKey(text: string): { keyId: string; hash: string } | undefined {
  const [, keyId, secret] = FORMAT.exec(text) ?? [];
  return keyId === undefined || secret === undefined ? undefined : { keyId, hash: hashSecret(secret) };
}

/** Compares two hex hashes in constant time; hashes of different lengths are different. */
export function hashesEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'hex'), Buffer.from(b, 'hex')];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** SHA-256 is enough for a secret of 256 random bits; a slow hash would only help denial of service. */
function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
