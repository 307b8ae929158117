import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { readSecretFile } from './key-file.ts';

const ONE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** A certificate with those above it, and its private key (PEM). */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/**
 * Reads a certificate and its key. Throws CodedError `config_invalid` where they do not fit, or
 * `key_file_unfit`.
 */
export function readTlsPair(certFile: string, keyFile: string): TlsPair {
  const key = readSecretFile(keyFile).reveal();
  try {
    const cert = readFileSync(certFile, 'utf8');
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (cause) {
    throw new CodedError(
      'config_invalid',
      `${certFile} and ${keyFile} are no certificate and its key: ${messageOf(cause)}.`,
      {
        cause,
        hint: 'both are PEM files; the certificate comes first in its file, those above it behind',
      },
    );
  }
}

/** Reads the certificates of authorities. Throws CodedError `config_invalid` where the file has none. */
export function readAuthorities(file: string): string[] {
  try {
    const found = readFileSync(file, 'utf8').match(ONE) ?? [];
    // TLS itself passes over what it cannot read.
    for (const one of found) new X509Certificate(one);
    if (found.length > 0) return found;
  } catch (cause) {
    throw new CodedError('config_invalid', `${file} has no certificates of authorities: ${messageOf(cause)}.`, {
      cause,
    });
  }
  throw new CodedError('config_invalid', `${file} has no certificates of authorities: it is not PEM.`);
}
