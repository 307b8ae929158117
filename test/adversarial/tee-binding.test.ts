import { X509Certificate, createHash, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { TeeEvidence, TeeSubject } from '../../src/core/attestation/tee/tee-evidence.ts';
import { verifyTeeEvidence } from '../../src/core/attestation/tee/verify-tee-evidence.ts';
import { TeePolicy } from '../../src/core/attestation/tee/tee-policy.ts';
import { workerBinding } from '../../src/core/attestation/tee/worker-binding.ts';
import { Chip } from '../support/chip.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';

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
