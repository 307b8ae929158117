import { sha256Hex } from '../../ground/blobs/sha256.ts';

/**
 * An entry of the log says that a key signed a document, and holds a salted digest of that document. The salt
 * is in the receipt only; without it, guessed documents cannot be tested against the log.
 */
export type LogEntryKind =
  'verdict' | 'workers' | 'keyring' | 'calibration' | 'draw' | 'tee-policy' | 'audit' | 'ledger';

export const SALT_BYTES = 32;

/**
 * It is hashed with the kind and the document, so that an entry of one kind cannot pass for one of another.
 */
const DOMAIN = 'countersign/log-entry/v1';

/** The bytes of an entry. */
export function logEntry(kind: LogEntryKind, keyId: string, payload: Uint8Array, salt: Uint8Array): Buffer {
  const digest = sha256Hex(Buffer.concat([Buffer.from(`${DOMAIN}\0${kind}\0`), salt, payload]));
  return Buffer.from(JSON.stringify({ type: `${DOMAIN}/${kind}`, keyid: keyId, digest }));
}
