import 'reflect-metadata';
import { X509Certificate, createHash, randomBytes, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  Extension,
  X509CertificateGenerator,
  type X509Certificate as Made,
} from '@peculiar/x509';
import { AMD_ROOTS } from '../../src/core/attestation/tee/snp-products.ts';

type KeyPair = Awaited<ReturnType<typeof newKeyPair>>;
const newKeyPair = () => webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, ['sign', 'verify']);

/** A chip that is played: its own root instead of AMD's, everything else as a real one. */
export class Chip {
  readonly id: Buffer;
  readonly chainPem: string;
  readonly roots: typeof AMD_ROOTS;
  readonly #key: KeyPair;

  private constructor(key: KeyPair, chainPem: string, root: string, id: Buffer) {
    this.#key = key;
    this.chainPem = chainPem;
    this.roots = { ...AMD_ROOTS, genoa: root };
    this.id = id;
  }

  static async make(): Promise<Chip> {
    const [root, middle, chip] = await Promise.all([1, 2, 3].map(newKeyPair));
    if (!root || !middle || !chip) throw new Error('no keys');
    const id = randomBytes(64);
    const signing = { name: 'ECDSA', hash: 'SHA-384' } as const;
    const dates = { notBefore: new Date('2026-01-01'), notAfter: new Date('2030-01-01') };
    const ca = new BasicConstraintsExtension(true, 1, true);
    const ark = await X509CertificateGenerator.createSelfSigned(
      { name: 'CN=ARK-Played', keys: root, signingAlgorithm: signing, ...dates, extensions: [ca] },
      webcrypto,
    );
    const issue = (name: string, key: KeyPair, issuer: Made, by: KeyPair, extensions: Extension[]) =>
      X509CertificateGenerator.create(
        {
          subject: `CN=${name}`,
          issuer: issuer.subject,
          publicKey: key.publicKey,
          signingKey: by.privateKey,
          signingAlgorithm: signing,
          ...dates,
          extensions,
        },
        webcrypto,
      );
    const ask = await issue('SEV-Played', middle, ark, root, [ca]);
    const level = (oid: string, value: number) =>
      new Extension(`1.3.6.1.4.1.3704.1.3.${oid}`, false, Buffer.from([2, 1, value]));
    const vcek = await issue('SEV-VCEK', chip, ask, middle, [
      level('1', 10),
      level('2', 0),
      level('3', 25),
      level('8', 90),
      new Extension('1.3.6.1.4.1.3704.1.4', false, id),
    ]);
    const chain = [vcek, ask, ark].map((certificate) => certificate.toString('pem')).join('\n');
    const digest = createHash('sha256')
      .update(new X509Certificate(ark.toString('pem')).raw)
      .digest('hex');
    return new Chip(chip, chain, digest, id);
  }

  async report(reportData: Buffer, policyBits = 0x30000n): Promise<Buffer> {
    const report = Buffer.alloc(1_184);
    report.writeUInt32LE(3, 0);
    report.writeBigUInt64LE(policyBits, 8);
    report.writeUInt32LE(1, 0x34);
    reportData.copy(report, 0x50);
    Buffer.alloc(48, 7).copy(report, 0x90);
    Buffer.from([10, 0, 0, 0, 0, 0, 25, 90]).copy(report, 0x180);
    this.id.copy(report, 0x1a0);
    const signature = Buffer.from(
      await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-384' }, this.#key.privateKey, report.subarray(0, 0x2a0)),
    );
    Buffer.from(signature.subarray(0, 48)).reverse().copy(report, 0x2a0);
    Buffer.from(signature.subarray(48))
      .reverse()
      .copy(report, 0x2a0 + 72);
    return report;
  }
}
