import { readFileSync } from 'node:fs';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { Keyring, KeyringFile } from './keyring.ts';

/**
 * Reads a keyring file, also as saved from `/.well-known/countersign.json`. Throws CodedError
 * `key_file_unfit`.
 */
export function readKeyring(path: string): Keyring {
  try {
    return new Keyring(KeyringFile.parse(JSON.parse(readFileSync(path, 'utf8'))));
  } catch (cause) {
    throw new CodedError('key_file_unfit', `${path} is not a keyring: ${messageOf(cause).slice(0, 300)}`, { cause });
  }
}
