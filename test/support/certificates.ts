import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type X509Certificate,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

type Keys = Awaited<ReturnType<typeof newKeys>>;
const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

/** The files of a certificate and its key. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** An authority of a test, which gives certificates to servers and clients of this machine. */
export class Authority {
  /** The file with its own certificate. */
  readonly file: string;
  readonly #folder: string;
  readonly #keys: Keys;
  readonly #own: X509Certificate;

  private constructor(folder: string, file: string, keys: Keys, own: X509Certificate) {
    this.#folder = folder;
    this.file = file;
    this.#keys = keys;
    this.#own = own;
  }

  static async make(folder: string, name: string): Promise<Authority> {
    const keys = await newKeys();
    const own = await X509CertificateGenerator.createSelfSigned(
      {
        name: `CN=${name}`,
        keys,
        signingAlgorithm: ALGORITHM,
        ...aroundToday(),
        extensions: [new BasicConstraintsExtension(true, 0, true)],
      },
      webcrypto,
    );
    const file = join(folder, `${name}.pem`);
    writeFileSync(file, own.toString('pem'));
    return new Authority(folder, file, keys, own);
  }

  /** A certificate that is good for a few days, and by default today. */
  async issue(name: string, daysFromNow = 0): Promise<CertificateFiles> {
    const keys = await newKeys();
    const made = await X509CertificateGenerator.create(
      {
        subject: `CN=${name}`,
        issuer: this.#own.subject,
        publicKey: keys.publicKey,
        signingKey: this.#keys.privateKey,
        signingAlgorithm: ALGORITHM,
        ...aroundToday(daysFromNow),
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]),
        ],
      },
      webcrypto,
    );
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
    const files = { cert: join(this.#folder, `${name}.pem`), key: join(this.#folder, `${name}.key.pem`) };
    writeFileSync(files.cert, made.toString('pem'));
    writeFileSync(files.key, PemConverter.encode(pkcs8, 'PRIVATE KEY'), { mode: 0o600 });
    return files;
  }
}

function aroundToday(daysFromNow = 0) {
  const day = Date.now() + daysFromNow * DAY_MS;
  return { notBefore: new Date(day - 2 * DAY_MS), notAfter: new Date(day + 2 * DAY_MS) };
}
