import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CodedError, systemCodeOf } from '../errors/coded-error.ts';
import { Secret } from '../config/secret.ts';
import { generateSigningKeyPem, signingKeyFromPem, type SigningKey } from './signing-key.ts';

/** No secret file of ours is longer; a device or a log handed in by mistake is refused unread. */
const MAX_BYTES = 16_384;

/**
 * The text of a file that only its owner may read. The mode is checked on the open descriptor, so that the file
 * cannot be exchanged between the check and the read.
 *
 * Throws CodedError `key_file_unfit` where it is missing, empty, too long, or readable by others.
 */
export function readSecretFile(path: string): Secret {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY);
  } catch (cause) {
    const why = systemCodeOf(cause) === 'ENOENT' ? 'does not exist' : 'cannot be read';
    throw new CodedError('key_file_unfit', `${path} ${why}.`, { cause, hint: 'make it with: countersign keys new' });
  }
  try {
    const { mode, size } = fstatSync(descriptor);
    if ((mode & 0o077) !== 0) {
      throw new CodedError('key_file_unfit', `${path} can be read by other users of this machine.`, {
        hint: `chmod 600 ${path}`,
      });
    }
    if (size === 0 || size > MAX_BYTES)
      throw new CodedError('key_file_unfit', `${path} is empty or too long for a secret.`);
    return new Secret(readFileSync(descriptor, 'utf8'));
  } finally {
    closeSync(descriptor);
  }
}

export function readSigningKey(path: string): SigningKey {
  return signingKeyFromPem(readSecretFile(path).reveal());
}

/** Writes a secret for its owner only; never over an existing file (EEXIST). */
export function writeSecretFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
}

/** The signing key of a file, made first where there is none. */
export function ensureSigningKey(path: string): SigningKey {
  if (!existsSync(path)) writeSecretFile(path, generateSigningKeyPem());
  return readSigningKey(path);
}
