import { existsSync } from 'node:fs';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { Keyring, KeyringFile } from '../../proof/receipts/keyring.ts';
import { trustInGiven, trustOnFirstUse, type Trusted } from '../../surfaces/checker/trust.ts';
import { apiUrl, readBytes } from './arguments.ts';
import type { DataFolder } from './data-folder.ts';

const FETCH_MS = 10_000;
const MAX_KEYRING_BYTES = 1_048_576;
const PATH = '/.well-known/countersign.json';

/** Where trust comes from, by the options of a command. */
export interface TrustOptions {
  readonly keyring?: string;
  readonly url?: string;
  readonly logPolicy?: string;
}

/**
 * The keyring that was given, that of the service that was named, or that of the data folder. Throws
 * CodedErrors `key_file_unfit` and `request_invalid`.
 */
export async function trustedKeyring(data: DataFolder, options: TrustOptions): Promise<Trusted> {
  const found =
    options.keyring === undefined && options.url !== undefined ? await fetched(options.url) : held(data, options);
  if (options.logPolicy === undefined) return found;
  return { ...found, keyring: found.keyring.withLogPolicy(readBytes(options.logPolicy).toString('utf8')) };
}

function held(data: DataFolder, { keyring }: TrustOptions): Trusted {
  const path = keyring ?? data.keyring();
  if (!existsSync(path))
    throw new CodedError('key_file_unfit', `There is no keyring at ${path}.`, {
      hint: `A keyring says whose signatures and which log you trust. Get it once, in a way that you trust, from the operator or from ${PATH} of the service, and give it with --keyring FILE.`,
    });
  return keyring === undefined
    ? {
        keyring: readKeyring(path),
        from: 'data folder',
        sentence: `the keyring of this installation, ${path}: as far as you trust this machine`,
      }
    : { keyring: readKeyring(path), ...trustInGiven(path) };
}

async function fetched(given: string): Promise<Trusted> {
  const { keyring, from } = await fetchKeyring(apiUrl(given));
  return { keyring, ...trustOnFirstUse(from) };
}

/** The keyring that a service serves, as it came, and from where. Throws CodedError `key_file_unfit`. */
export async function fetchKeyring(service: string): Promise<{ keyring: Keyring; text: string; from: string }> {
  const from = `${service}${PATH}`;
  try {
    const response = await fetch(from, { signal: AbortSignal.timeout(FETCH_MS), redirect: 'error' });
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    const text = (await readBounded(response, MAX_KEYRING_BYTES))?.toString('utf8');
    if (text === undefined) throw new Error(`it has more than ${MAX_KEYRING_BYTES} bytes`);
    return { keyring: new Keyring(KeyringFile.parse(JSON.parse(text))), text, from };
  } catch (cause) {
    throw new CodedError('key_file_unfit', `No keyring came from ${from}: ${messageOf(cause).slice(0, 200)}`, {
      cause,
    });
  }
}
