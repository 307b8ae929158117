import 'reflect-metadata';
import { X509Certificate, createHash, createSign, generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import {
  BasicConstraintsExtension,
  Extension,
  X509CertificateGenerator,
  type X509Certificate as Made,
} from '@peculiar/x509';
import { AMD_ROOTS } from '../../src/attestation/tee/sev-snp.ts';
import { verifyTeeEvidence, type TeeEvidence, type TeeSubject } from '../../src/attestation/tee/tee-evidence.ts';
import { TeePolicy } from '../../src/attestation/tee/tee-policy.ts';
import { workerBinding } from '../../src/attestation/tee/worker-binding.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';

type KeyPair = Awaited<ReturnType<typeof newKeyPair>>;
const newKeyPair = () => webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, ['sign', 'verify']);

/** A chip that is played: its own root instead of AMD's, everything else as a real one. */
class Chip {
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

describe('a hostile worker with a real machine', () => {
  const at = Date.parse('2026-11-21T00:00:00Z');
  const zero = { bootloader: 0, tee: 0, snp: 0, microcode: 0 };
  const policy = TeePolicy.parse({
    version: 1,
    sevSnp: { measurements: [Buffer.alloc(48, 7).toString('hex')], minTcb: { genoa: zero } },
  });
  const subject: TeeSubject = {
    worker: `w-${'a'.repeat(32)}`,
    publicKey: randomBytes(32),
    tlsSpkiSha256: Buffer.alloc(0),
    nonce: randomBytes(32),
    modelManifestSha256: randomBytes(32),
  };
  const bound = (about: TeeSubject, gpu = Buffer.alloc(0)) => workerBinding({ ...about, gpuEvidenceSha256: gpu });
  const evidence = (report: Buffer): TeeEvidence => ({
    version: 1,
    cpu: { kind: 'sev-snp', report: report.toString('base64') },
  });
  let chip: Chip;
  beforeAll(async () => {
    chip = await Chip.make();
  });
  const verify = (what: TeeEvidence, about = subject) =>
    verifyTeeEvidence(what, { snpChain: chip.chainPem }, about, policy, at, chip.roots);

  test('its quote counts for its own key, our nonce and its models only', async () => {
    const mine = evidence(await chip.report(bound(subject)));
    expect(await verify(mine)).toMatchObject({ properties: ['TEE_SEV_SNP_OK'], warnings: ['MEMORY_BUS_NOT_TRUSTED'] });
    for (const other of [
      { worker: `w-${'b'.repeat(32)}` },
      { publicKey: randomBytes(32) },
      { nonce: randomBytes(32) },
      { tlsSpkiSha256: randomBytes(32) },
      { modelManifestSha256: randomBytes(32) },
    ])
      await expect(verify(mine, { ...subject, ...other })).rejects.toMatchObject({ refusal: 'TEE_NOT_BOUND' });
  });

  test('one that splices the GPU evidence of another box into its quote is refused', async () => {
    const gpu = { kind: 'nras', bundle: '[["JWT","a.b.c"],{"GPU-0":"a.b.c"}]' } as const;
    const without = evidence(await chip.report(bound(subject)));
    await expect(verify({ ...without, gpu })).rejects.toMatchObject({ refusal: 'TEE_NOT_BOUND' });
    const digest = createHash('sha256').update(gpu.bundle).digest();
    const withIt = evidence(await chip.report(bound(subject, digest)));
    await expect(verify(withIt)).rejects.toMatchObject({ refusal: 'TEE_NOT_BOUND' });
    await expect(verify({ ...withIt, gpu: { ...gpu, bundle: `${gpu.bundle} ` } })).rejects.toMatchObject({
      refusal: 'TEE_NOT_BOUND',
    });
    // Bound, it is looked at: and these tokens are none.
    await expect(verify({ ...withIt, gpu })).rejects.toMatchObject({ refusal: 'TEE_COLLATERAL_INVALID' });
  });

  test('a guest that can be debugged, and a chip that AMD did not make, are refused', async () => {
    const debugged = evidence(await chip.report(bound(subject), 0xb0000n));
    await expect(verify(debugged)).rejects.toMatchObject({ refusal: 'TEE_DEBUG' });
    const mine = evidence(await chip.report(bound(subject)));
    await expect(verifyTeeEvidence(mine, { snpChain: chip.chainPem }, subject, policy, at)).rejects.toMatchObject({
      refusal: 'TEE_CHAIN_UNTRUSTED',
    });
    const other = await Chip.make();
    await expect(
      verifyTeeEvidence(mine, { snpChain: other.chainPem }, subject, policy, at, other.roots),
    ).rejects.toMatchObject({ refusal: 'TEE_SIGNATURE_INVALID' });
  });

  test('parts cannot be moved between the fields of the binding', () => {
    const moved = bound({
      ...subject,
      worker: subject.worker.slice(0, -1),
      publicKey: Buffer.concat([Buffer.from('a'), subject.publicKey]),
    });
    expect(moved).not.toEqual(bound(subject));
  });

  test('any other signature over the same report is none: keys of another kind, numbers beyond the curve', async () => {
    const report = await chip.report(bound(subject));
    report.writeUInt8(1, 0x2a0 + 60);
    await expect(verify(evidence(report))).rejects.toMatchObject({ refusal: 'TEE_SIGNATURE_INVALID' });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
    const forged = await chip.report(bound(subject));
    const signature = createSign('sha384')
      .update(forged.subarray(0, 0x2a0))
      .sign({ key: privateKey, dsaEncoding: 'ieee-p1363' });
    Buffer.from(signature.subarray(0, 48)).reverse().copy(forged, 0x2a0);
    Buffer.from(signature.subarray(48))
      .reverse()
      .copy(forged, 0x2a0 + 72);
    await expect(verify(evidence(forged))).rejects.toMatchObject({ refusal: 'TEE_SIGNATURE_INVALID' });
  });
});

describeVectors('a hostile worker with evidence of other machines', () => {
  test('real evidence that does not bind its key is refused', async () => {
    const report = readFileSync(join(VECTORS, 'sev-snp/ars.live-report-v5-genoa.bin'));
    const pem = ['ars.live-vcek-genoa.der', 'ars.genoa.ask.der', 'ars.genoa.ark.der']
      .map((name) => new X509Certificate(readFileSync(join(VECTORS, 'sev-snp', name))).toString())
      .join('\n');
    const subject = {
      worker: 'w',
      publicKey: randomBytes(32),
      tlsSpkiSha256: Buffer.alloc(0),
      nonce: randomBytes(32),
      modelManifestSha256: Buffer.alloc(0),
    };
    const evidence = { version: 1, cpu: { kind: 'sev-snp', report: report.toString('base64') } } as const;
    await expect(
      verifyTeeEvidence(
        evidence,
        { snpChain: pem },
        subject,
        TeePolicy.parse({ version: 1 }),
        Date.parse('2026-11-21'),
      ),
    ).rejects.toMatchObject({ refusal: 'TEE_NOT_BOUND' });
  });
});
