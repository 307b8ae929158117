import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { CodedError, systemCodeOf } from '../errors/coded-error.ts';
import { Secret } from '../config/secret.ts';
import { keepSecret } from '../logging/redact.ts';
import { generateSigningKeyPem, signingKeyFromPem, type SigningKey } from './signing-key.ts';

/** No secret file is longer; a device or a log that was named by mistake is refused unread. */
const MAX_BYTES = 16_384;

/**
 * Returns the text of a file that only its owner may read. The mode is checked on the open descriptor, so
 * that the file cannot be exchanged between the check and the read. `whereFrom` says how one comes by such a
 * file.
 *
 * Throws CodedError `key_file_unfit` where the file is missing, empty, too long, or readable by others.
 */
export function readSecretFile(path: string, whereFrom?: string): Secret {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY);
  } catch (cause) {
    const why = systemCodeOf(cause) === 'ENOENT' ? 'does not exist' : 'cannot be read';
    throw new CodedError('key_file_unfit', `${path} ${why}.`, {
      cause,
      ...(whereFrom === undefined ? {} : { hint: whereFrom }),
    });
  }
  try {
    const status = fstatSync(descriptor);
    const { mode, size } = status;
    if (!status.isFile()) throw new CodedError('key_file_unfit', `${path} is not a file.`);
    if ((mode & 0o077) !== 0) {
      throw new CodedError('key_file_unfit', `${path} can be read by other users of this machine.`, {
        hint: `chmod 600 ${path}`,
      });
    }
    if (size === 0 || size > MAX_BYTES)
      throw new CodedError('key_file_unfit', `${path} is empty or too long for a secret.`);
    const text = readFileSync(descriptor, 'utf8');
    keepSecret(text);
    return new Secret(text);
  } finally {
    closeSync(descriptor);
  }
}

/** Returns the signing key in a PEM file. Throws CodedError `key_file_unfit`. */
export function readSigningKey(path: string): SigningKey {
  return signingKeyFromPem(readSecretFile(path, 'make it with: countersign keys new').reveal());
}

/** Writes a secret that only its owner may read. Throws EEXIST where the file exists. */
export function writeSecretFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
}

/** Puts another secret in the place of one; a crash leaves the old one or the new one. */
export function replaceSecretFile(path: string, text: string): void {
  const aside = `${path}.new`;
  rmSync(aside, { force: true });
  writeSecretFile(aside, text);
  renameSync(aside, path);
}

/**
 * Returns the signing key in a file, which is made where there is none. Throws CodedError `key_file_unfit`.
 */
export function ensureSigningKey(path: string): SigningKey {
  // Written aside and renamed: a crash between making the file and filling it must leave no empty key.
  if (!existsSync(path)) replaceSecretFile(path, generateSigningKeyPem());
  return readSigningKey(path);
}
