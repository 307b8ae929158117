import { sha256Hex } from '../../ground/blobs/sha256.ts';

/**
 * What an entry of the log says: that a key signed a document, of which it holds a digest with salt. The salt stands in the
 * receipt only; without it, nobody can try documents against the log.
 */
export type LogEntryKind = 'verdict' | 'workers' | 'keyring' | 'calibration' | 'draw' | 'tee-policy';

export const SALT_BYTES = 32;

/** Kinds of entries cannot be taken for each other: the kind is hashed with the document. */
const DOMAIN = 'countersign/log-entry/v1';

/** The bytes that the log holds. */
export function logEntry(kind: LogEntryKind, keyId: string, payload: Uint8Array, salt: Uint8Array): Buffer {
  const digest = sha256Hex(Buffer.concat([Buffer.from(`${DOMAIN}\0${kind}\0`), salt, payload]));
  return Buffer.from(JSON.stringify({ type: `${DOMAIN}/${kind}`, keyid: keyId, digest }));
}
