import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { JSONWebKeySet } from 'jose';
import { verifyNitroDocument } from '../../src/core/attestation/tee/nitro.ts';
import { verifyNras } from '../../src/core/attestation/tee/nvidia-nras.ts';
import { verifySpdm } from '../../src/core/attestation/tee/nvidia-spdm.ts';
import { verifySnpReport } from '../../src/core/attestation/tee/sev-snp.ts';
import { judgeTdxQuote } from '../../src/core/attestation/tee/tdx-judge.ts';
import { parseTdxQuote } from '../../src/core/attestation/tee/tdx-quote.ts';
import { verifyIntelQuote, type TdxCollateral } from '../../src/core/attestation/tee/tdx.ts';
import { TeePolicy, appraise, appraiseGpus, freshUntilMs } from '../../src/core/attestation/tee/tee-policy.ts';
import { TeeRefused } from '../../src/core/attestation/tee/tee-refused.ts';
import { certificatesOfPem, extensionOf } from '../../src/core/attestation/tee/x509.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';
import { sampleOf } from '../support/thorough.ts';

const read = (name: string) => readFileSync(join(VECTORS, name));
const refused = (refusal: string) => expect.objectContaining({ refusal });
const at = (time: string) => Date.parse(time);
const NOW = at('2026-11-21T00:00:00Z');

/** One bit of one byte of a copy. */
function flip(bytes: Buffer, position: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[position] = (copy[position] ?? 0) ^ 1;
  return copy;
}

describeVectors('Intel TDX and SGX', () => {
  const collateral = JSON.parse(read('tdx/tdx_quote_collateral.json').toString()) as TdxCollateral;
  const quote = read('tdx/tdx_quote');
  const time = at('2025-07-01T00:00:00Z');

  test('a real quote verifies within its collateral, and not a second before or after, nor at no time', async () => {
    expect(await verifyIntelQuote(quote, collateral, time)).toMatchObject({
      platform: 'tdx',
      tcbStatus: 'UpToDate',
      advisories: [],
    });
    await expect(verifyIntelQuote(quote, collateral, at('2025-06-19T10:32:26Z'))).rejects.toEqual(
      refused('TEE_COLLATERAL_INVALID'),
    );
    await expect(verifyIntelQuote(quote, collateral, at('2025-07-19T10:16:04Z'))).rejects.toEqual(
      refused('TEE_COLLATERAL_INVALID'),
    );
    // A caller without types can hand in anything.
    const noTimes: unknown[] = [NaN, -1, Infinity, '1751328000000', undefined];
    for (const never of noTimes)
      await expect(verifyIntelQuote(quote, collateral, never as number)).rejects.toEqual(refused('TEE_NOT_FRESH'));
  });

  test('every changed byte of header and report is refused: here a sample, and every one in test:long', async () => {
    const positions = sampleOf([...Array(632).keys()], 27);
    expect(positions.length).toBeGreaterThan(20);
    for (const position of positions) {
      const answer = verifyIntelQuote(flip(quote, position), collateral, time);
      await expect(answer.catch((error: unknown) => [position, error])).resolves.toEqual([
        position,
        expect.any(TeeRefused),
      ]);
    }
  });

  test('collateral that the worker made up is refused: empty, garbage or foreign revocation lists, changed TCB info and identities', async () => {
    const other = JSON.parse(read('tdx/tdx_quote_outdated_collateral.json').toString()) as TdxCollateral;
    for (const change of [
      { pck_crl: '' },
      { pck_crl: 'deadbeef' },
      { root_ca_crl: '' },
      { pck_crl: flip(Buffer.from(collateral.pck_crl, 'hex'), collateral.pck_crl.length / 2 - 3).toString('hex') },
      { root_ca_crl: flip(Buffer.from(collateral.root_ca_crl, 'hex'), 40).toString('hex') },
      { pck_crl: other.pck_crl, pck_crl_issuer_chain: other.tcb_info_issuer_chain },
      { tcb_info: collateral.tcb_info.replace('UpToDate', 'OutOfDate') },
      { qe_identity: collateral.qe_identity.replace('"isvprodid":2', '"isvprodid":3') },
      { qe_identity: collateral.qe_identity.replace('UpToDate', 'OutOfDate') },
      { tcb_info_issuer_chain: collateral.pck_crl_issuer_chain },
      { qe_identity_signature: flip(Buffer.from(collateral.qe_identity_signature, 'hex'), 3).toString('hex') },
    ])
      await expect(verifyIntelQuote(quote, { ...collateral, ...change }, time)).rejects.toBeInstanceOf(TeeRefused);
    await expect(verifyIntelQuote(quote, {}, time)).rejects.toEqual(refused('TEE_COLLATERAL_INVALID'));
  });

  test('an out-of-date platform is refused, and what Intel calls less than up to date is for the policy', async () => {
    const outdated = JSON.parse(read('tdx/tdx_quote_outdated_collateral.json').toString()) as TdxCollateral;
    await expect(
      verifyIntelQuote(read('tdx/tdx_quote_outdated'), outdated, at('2026-03-01T00:00:00Z')),
    ).rejects.toEqual(refused('TEE_TCB_OUT_OF_DATE'));
    const sgx = await verifyIntelQuote(
      read('tdx/sgx_quote'),
      JSON.parse(read('tdx/sgx_quote_collateral.json').toString()),
      time,
    );
    expect(sgx).toMatchObject({
      platform: 'sgx',
      tcbStatus: 'ConfigurationAndSWHardeningNeeded',
      advisories: ['INTEL-SA-00289', 'INTEL-SA-00615'],
    });
    expect(() => appraise(sgx, TeePolicy.parse({ version: 1 }), time)).toThrow(refused('TEE_PLATFORM_NOT_ALLOWED'));
  });

  test('a quote of version 5 verifies, and with no flipped byte of header and report', async () => {
    const later = read('tdx/gtg.quote_v5_sample.dat');
    const then = JSON.parse(read('tdx/tdx_quote_outdated_collateral.json').toString()) as TdxCollateral;
    const at5 = at('2026-03-01T00:00:00Z');
    const found = await verifyIntelQuote(later, then, at5);
    expect(found).toMatchObject({ platform: 'tdx', tcbStatus: 'UpToDate' });
    for (const position of sampleOf([...Array(702).keys()], 27))
      await expect(verifyIntelQuote(flip(later, position), then, at5)).rejects.toBeInstanceOf(TeeRefused);
    await expect(verifyIntelQuote(read('tdx/automata.quotev5.dat'), then, at5)).rejects.toEqual(
      refused('TEE_CONFIGURATION_FORBIDDEN'),
    );
  });

  test("the TDX module is judged by its own levels, and its platform's levels without it", async () => {
    const parsed = parseTdxQuote(quote);
    const info = JSON.parse(collateral.tcb_info) as {
      tcbLevels: { tcb: { tdxtcbcomponents: { svn: number }[] } }[];
      tdxModuleIdentities: { id: string; tcbLevels: { tcb: { isvsvn: number }; tcbStatus: string }[] }[];
    };
    const judge = (change: (copy: typeof info) => void, report = parsed.report) => {
      const copy = structuredClone(info);
      change(copy);
      return judgeTdxQuote({ ...parsed, report }, { ...collateral, tcb_info: JSON.stringify(copy) }, time);
    };
    const later = { ...parsed.report, teeTcbSvn: Buffer.from(parsed.report.teeTcbSvn) };
    later.teeTcbSvn.set([4, 1]);
    expect(await judge(() => undefined, later)).toMatchObject({ status: 'UpToDate', plainStatus: undefined });
    later.teeTcbSvn.set([3, 1]);
    expect(await judge(() => undefined, later)).toMatchObject({ status: 'OutOfDate' });
    later.teeTcbSvn.set([1, 1]);
    await expect(judge(() => undefined, later)).rejects.toEqual(refused('TEE_TCB_OUT_OF_DATE'));
    later.teeTcbSvn.set([9, 7]);
    await expect(judge(() => undefined, later)).rejects.toEqual(refused('TEE_TCB_OUT_OF_DATE'));
    later.teeTcbSvn.set([4, 1]);
    expect(
      await judge(
        (copy) =>
          copy.tdxModuleIdentities.forEach((one) => one.tcbLevels.forEach((level) => (level.tcbStatus = 'Revoked'))),
        later,
      ),
    ).toMatchObject({ status: 'Revoked' });
  });

  test('quotes of other platforms, debug guests among them, do not verify with this collateral', async () => {
    for (const name of ['ars.tdx_quote_4.dat', 'automata.quotev5.dat', 'gtg.tdx_prod_quote_SPR_E4.dat'])
      await expect(verifyIntelQuote(read(`tdx/${name}`), collateral, time)).rejects.toBeInstanceOf(TeeRefused);
    for (const junk of [Buffer.alloc(0), Buffer.alloc(48), Buffer.alloc(5_006, 255), Buffer.alloc(100_000)])
      await expect(verifyIntelQuote(junk, collateral, time)).rejects.toBeInstanceOf(TeeRefused);
  });

  test('the policy names measurements; debug, unknown modules and attributes are refused', async () => {
    const found = await verifyIntelQuote(quote, collateral, time);
    const { mrTd = '', mrSeam = '', rtMr1 = '', rtMr2 = '' } = found.measurements;
    const kernel = { rtMr1: [rtMr1], rtMr2: [rtMr2] };
    const policy = (tdx: object) =>
      TeePolicy.parse({ version: 1, tdx: { mrTd: [mrTd], mrSeam: [mrSeam], ...kernel, ...tdx } });
    for (const name of ['rtMr1', 'rtMr2'])
      for (const value of [undefined, [], 'all']) expect(() => policy({ [name]: value })).toThrow(name);
    expect(appraise(found, policy({ rtMr1: 'any', rtMr2: 'any' }), time).properties).toEqual(['TEE_TDX_UP_TO_DATE']);
    for (const name of ['rtMr1', 'rtMr2'])
      expect(() => appraise(found, policy({ [name]: ['1'.repeat(96)] }), time)).toThrow(
        refused('TEE_MEASUREMENT_UNKNOWN'),
      );
    expect(appraise(found, policy({}), time).properties).toEqual(['TEE_TDX_UP_TO_DATE']);
    const zeros = '0'.repeat(96);
    expect(() => appraise(found, policy({ mrTd: [zeros] }), time)).toThrow(refused('TEE_MEASUREMENT_UNKNOWN'));
    expect(() => appraise(found, policy({ mrSeam: [zeros] }), time)).toThrow(refused('TEE_MEASUREMENT_UNKNOWN'));
    expect(() => appraise(found, policy({ rtMr3: [zeros.replace('0', '1')] }), time)).toThrow(
      refused('TEE_MEASUREMENT_UNKNOWN'),
    );
    expect(() => appraise(found, policy({ minTcbEvaluationDataNumber: 99 }), time)).toThrow(
      refused('TEE_TCB_OUT_OF_DATE'),
    );
    const with_ = (change: object) => ({ ...found, measurements: { ...found.measurements, ...change } });
    expect(() => appraise(with_({ tdAttributes: '0100001000000000' }), policy({}), time)).toThrow(refused('TEE_DEBUG'));
    expect(() => appraise(with_({ tdAttributes: '0000001000000001' }), policy({}), time)).toThrow(
      refused('TEE_CONFIGURATION_FORBIDDEN'),
    );
    const lesser = { ...found, tcbStatus: 'SWHardeningNeeded', advisories: ['INTEL-SA-00289'] };
    const accepts = (until: string) => policy({ advisories: [{ id: 'INTEL-SA-00289', until }] });
    expect(() => appraise(lesser, policy({}), time)).toThrow(refused('TEE_TCB_OUT_OF_DATE'));
    expect(() => appraise(lesser, accepts('2025-06-30T00:00:00Z'), time)).toThrow(refused('TEE_TCB_OUT_OF_DATE'));
    expect(appraise(lesser, accepts('2025-07-02T00:00:00Z'), time).properties).toEqual(['TEE_TDX_ADVISORIES_ACCEPTED']);
    expect(() => appraise(found, TeePolicy.parse({ version: 1 }), time)).toThrow(refused('TEE_PLATFORM_NOT_ALLOWED'));
  });
});

describeVectors('AMD SEV-SNP', () => {
  const der = (name: string) => new X509Certificate(read(`sev-snp/${name}`));
  const pem = (name: string) => certificatesOfPem(read(`sev-snp/${name}`).toString());
  const milan = [der('ars.milan.ask.der'), der('ars.milan.ark.der')];
  const genoa = [der('ars.genoa.ask.der'), der('ars.genoa.ark.der')];
  const live = JSON.parse(read('sev-snp/ars.live-evidence-genoa.json').toString()) as {
    evidence: { attestation_report: string; cert_chain: { vcek: string } };
  };
  const good: [string, Buffer, X509Certificate[], object][] = [
    [
      'Genoa v5',
      read('sev-snp/ars.live-report-v5-genoa.bin'),
      [der('ars.live-vcek-genoa.der'), ...genoa],
      { product: 'genoa', version: 5 },
    ],
    [
      'Genoa, with its certificate',
      Buffer.from(live.evidence.attestation_report, 'base64'),
      [new X509Certificate(Buffer.from(live.evidence.cert_chain.vcek, 'base64')), ...genoa],
      { product: 'genoa' },
    ],
    [
      'Milan',
      read('sev-snp/ars.test-report.bin'),
      [der('ars.test-vcek.der'), ...milan],
      { product: 'milan', signer: 'vcek' },
    ],
    [
      'Milan v2',
      Buffer.from(read('sev-snp/virtee.report_milan.hex').toString().trim(), 'hex'),
      [der('virtee.vcek_milan.der'), ...pem('virtee.cert_chain_milan.pem')],
      { product: 'milan', version: 2 },
    ],
    [
      'a guest that can be debugged',
      read('sev-snp/go-sev-guest.attestation.bin'),
      [der('go-sev-guest.vcek.der'), ...pem('go-sev-guest.milan_ask_ark.pem')],
      { debug: true },
    ],
    [
      'a report within a longer file',
      read('sev-snp/dstack.sev_snp_attestation.bin').subarray(4, 1_188),
      [
        ...pem('dstack.sev_snp_vcek.pem'),
        ...pem('dstack.sev_snp_ask.pem').slice(0, 1),
        ...[...milan, ...genoa, der('ars.turin.ark.der')].filter((root) =>
          pem('dstack.sev_snp_ask.pem')[0]?.checkIssued(root),
        ),
      ],
      {},
    ],
  ];

  test.each(good)('%s verifies today, and with no flipped byte', (_, report, chain, expected) => {
    expect(verifySnpReport(report, chain, NOW)).toMatchObject({ platform: 'sev-snp', ...expected });
    for (const position of sampleOf([...report.keys()], 29))
      expect(() => verifySnpReport(flip(report, position), chain, NOW)).toThrow();
    expect(() => verifySnpReport(report.subarray(1), chain, NOW)).toThrow(refused('TEE_MALFORMED'));
    expect(() => verifySnpReport(Buffer.concat([report, Buffer.alloc(1)]), chain, NOW)).toThrow(
      refused('TEE_MALFORMED'),
    );
    expect(() => verifySnpReport(report, chain, at('2035-01-01T00:00:00Z'))).toThrow(
      refused('TEE_CERTIFICATE_EXPIRED'),
    );
  });

  test('certificates of other chips, other issuers or other products are refused', () => {
    const report = read('sev-snp/ars.test-report.bin');
    for (const name of ['ars.test-vcek-invalid-legacy.der', 'ars.test-vcek-invalid-new.der'])
      expect(() => verifySnpReport(report, [der(name), ...milan], NOW)).toThrow(refused('TEE_CHAIN_UNTRUSTED'));
    expect(() => verifySnpReport(report, [der('ars.test-vcek.der'), ...genoa], NOW)).toThrow(
      refused('TEE_CHAIN_UNTRUSTED'),
    );
    expect(() => verifySnpReport(report, [der('virtee.vcek_milan.der'), ...milan], NOW)).toThrow(
      refused('TEE_SIGNATURE_INVALID'),
    );
    expect(() => verifySnpReport(report, milan, NOW)).toThrow(refused('TEE_CHAIN_UNTRUSTED'));
    expect(() => verifySnpReport(report, [der('ars.test-vcek.der'), ...milan.toReversed()], NOW)).toThrow(
      refused('TEE_CHAIN_UNTRUSTED'),
    );
  });

  test("a cloud's key verifies under its own authority, at its time, and its guest's level is for the policy", () => {
    const report = read('sev-snp/ars.test-vlek-report.bin');
    const [vlek, asvk, ark] = [der('ars.test-vlek.der'), der('ars.milan.asvk.der'), der('ars.milan.ark.der')];
    const then = at('2025-03-01T00:00:00Z');
    const found = verifySnpReport(report, [vlek, asvk, ark], then);
    expect(found).toMatchObject({ signer: 'vlek', vmpl: 1 });
    const accepts = policyFor(found, { maxVmpl: 1 });
    expect(appraise(found, accepts, then)).toMatchObject({
      warnings: ['SNP_MILAN_KEYS_EXTRACTABLE', 'MEMORY_BUS_NOT_TRUSTED'],
    });
    expect(() => appraise(found, policyFor(found, {}), then)).toThrow(refused('TEE_CONFIGURATION_FORBIDDEN'));
    expect(() => verifySnpReport(report, [vlek, der('ars.milan.ask.der'), ark], then)).toThrow(
      refused('TEE_CHAIN_UNTRUSTED'),
    );
    expect(() => verifySnpReport(report, [vlek, asvk, ark], NOW)).toThrow(refused('TEE_CERTIFICATE_EXPIRED'));
  });

  const zero = { bootloader: 0, tee: 0, snp: 0, microcode: 0 };
  const policyFor = ({ measurement }: { measurement: string }, change: object) =>
    TeePolicy.parse({
      version: 1,
      sevSnp: { measurements: [measurement], minTcb: { milan: zero, genoa: zero, turin: zero }, ...change },
    });

  test('the policy refuses debug guests, old firmware, unknown measurements and products', () => {
    const [, report = Buffer.alloc(0), chain = []] = good[0] ?? [];
    const found = verifySnpReport(report, chain, NOW);
    expect(appraise(found, policyFor(found, {}), NOW).properties).toEqual(['TEE_SEV_SNP_OK']);
    expect(() => appraise(found, policyFor({ measurement: '0'.repeat(96) }, {}), NOW)).toThrow(
      refused('TEE_MEASUREMENT_UNKNOWN'),
    );
    expect(() => appraise(found, policyFor(found, { minTcb: { milan: zero } }), NOW)).toThrow(
      refused('TEE_PLATFORM_NOT_ALLOWED'),
    );
    expect(() => appraise(found, policyFor(found, { minTcb: { genoa: { ...zero, microcode: 255 } } }), NOW)).toThrow(
      refused('TEE_TCB_OUT_OF_DATE'),
    );
    const [, debug = Buffer.alloc(0), debugChain = []] = good[4] ?? [];
    const debugged = verifySnpReport(debug, debugChain, NOW);
    expect(() => appraise(debugged, policyFor(debugged, {}), NOW)).toThrow(refused('TEE_DEBUG'));
  });

  test('extensions are read as they stand', () => {
    expect(extensionOf(der('ars.test-vcek.der'), '1.3.6.1.4.1.3704.1.3.8')?.toString('hex')).toBe('020173');
    expect(extensionOf(der('ars.test-vcek.der'), '1.2.3.4')).toBeUndefined();
  });
});

describeVectors('AWS Nitro', () => {
  /**
   * Out of dstack's envelope: one byte of version, one of kind, the length (SCALE, two bytes), the document.
   */
  const dstack = (name: string) => {
    const bytes = read(`nitro/${name}`);
    return bytes.subarray(4, 4 + (bytes.readUInt16LE(2) >> 2));
  };
  const documents: [string, Buffer, string, boolean][] = [
    ['dstack', dstack('dstack-attest.nitro_attestation.bin'), '2025-12-25T16:04:19.346Z', false],
    ['dstack, debug', dstack('dstack-attest.nitro_attestation_dbg.bin'), '2025-12-25T08:20:46.577Z', true],
    ['evervault, debug', read('nitro/evervault.debug-mode-attestation-doc-bytes'), '2022-10-12T13:50:06.081Z', true],
    ['evervault', read('nitro/evervault.valid-attestation-doc-bytes'), '2022-10-13T08:58:02.136Z', false],
    [
      'evervault, in base64',
      Buffer.from(read('nitro/evervault.valid-attestation-doc-base64').toString().trim(), 'base64'),
      '2023-09-18T15:03:30.860Z',
      true,
    ],
  ];

  test.each(documents)('%s verifies at its own time only, and with no flipped byte', (_, document, time, debug) => {
    const then = at(time);
    const found = verifyNitroDocument(document, then);
    expect(found).toMatchObject({ platform: 'nitro', timestampMs: then, debug });
    for (const other of [then + 4 * 3_600_000, then - 86_400_000, NOW])
      expect(() => verifyNitroDocument(document, other)).toThrow(refused('TEE_CERTIFICATE_EXPIRED'));
    for (const position of sampleOf([...document.keys()], 97))
      expect(() => verifyNitroDocument(flip(document, position), then)).toThrow();
    expect(() => verifyNitroDocument(Buffer.concat([document, Buffer.alloc(1)]), then)).toThrow(
      refused('TEE_MALFORMED'),
    );
    const set = Object.fromEntries(['0', '1', '2'].map((number) => [number, found.pcrs[Number(number)] ?? '']));
    const policy = TeePolicy.parse({ version: 1, nitro: { pcrs: [set] } });
    if (debug) expect(() => appraise(found, policy, then)).toThrow(refused('TEE_DEBUG'));
    else {
      expect(appraise(found, policy, then).properties).toEqual(['TEE_NITRO_OK']);
      expect(() => appraise(found, policy, then + 3_600_001)).toThrow(refused('TEE_NOT_FRESH'));
      expect(freshUntilMs(found, policy)).toBe(then + 3_600_000);
      expect(() => appraise(found, policy, then - 60_001)).toThrow(refused('TEE_NOT_FRESH'));
      const other = TeePolicy.parse({ version: 1, nitro: { pcrs: [{ ...set, '2': '0'.repeat(96) }] } });
      expect(() => appraise(found, other, then)).toThrow(refused('TEE_MEASUREMENT_UNKNOWN'));
    }
  });
});

describe('CBOR bombs', () => {
  test.each([
    ['100,000 arrays in each other', Buffer.alloc(100_000, 0x81)],
    ['30,000 arrays in each other', Buffer.alloc(30_000, 0x81)],
    ['a text of 2^62 bytes', Buffer.from('7b4000000000000000', 'hex')],
    ['an array of 2^40 items', Buffer.from('9b0000010000000000', 'hex')],
    ['nothing', Buffer.alloc(0)],
    ['a map with a key twice', Buffer.from('a2616100616101', 'hex')],
  ])('%s is refused', (_, bytes) => {
    expect(() => verifyNitroDocument(bytes, NOW)).toThrow(refused('TEE_MALFORMED'));
  });
});

describeVectors('NVIDIA', () => {
  const report = (name: string) => Buffer.from(read(`nvidia/${name}`).toString().trim(), 'hex');
  const chain = (name: string) => read(`nvidia/${name}`).toString();
  const evidence = (name: string) => {
    const [device] = JSON.parse(read(`nvidia/${name}`).toString()) as [
      { certificate: string; evidence: string; nonce: string },
    ];
    return {
      bytes: Buffer.from(device.evidence, 'base64'),
      pem: Buffer.from(device.certificate, 'base64').toString(),
      nonce: device.nonce,
    };
  };
  const hopper = evidence('sdk.hopper_evidence.json');
  const hold = evidence('sdk.hopper_evidence_cert_hold.json');
  const good: [string, Buffer, string][] = [
    ['nvtrust Hopper', report('nvtrust.hopperAttestationReport.txt'), chain('nvtrust.hopperCertChain.txt')],
    ['Hopper', report('sdk.hopperAttestationReport.txt'), chain('sdk.hopperCertChain.txt')],
    [
      'Hopper, whose RIM expired',
      report('sdk.hopperAttestationReportExpired.txt'),
      chain('sdk.hopperCertChainExpired.txt'),
    ],
    ['Hopper, newer driver', report('sdk.top.hopperAttestationReport.txt'), chain('sdk.top.hopperCertChain.txt')],
    ['Blackwell', report('sdk.blackwellAttestationReport.txt'), chain('sdk.blackwellCertChain.txt')],
    ['evidence in JSON', hopper.bytes, hopper.pem],
    ['a certificate that only OCSP holds back', hold.bytes, hold.pem],
  ];

  test.each(good)('%s verifies today, and with no flipped byte', (_, bytes, pem) => {
    expect(verifySpdm(bytes, pem, NOW).nonce).toEqual(bytes.subarray(4, 36));
    for (const position of sampleOf([...bytes.keys()], 97))
      expect(() => verifySpdm(flip(bytes, position), pem, NOW)).toThrow();
    const [, , other = ''] = good.find(([, , candidate]) => candidate !== pem) ?? [];
    expect(() => verifySpdm(bytes, other, NOW)).toThrow(refused('TEE_SIGNATURE_INVALID'));
  });

  test('a policy can ask for GPUs, how many and which; what is no GPU does not count', () => {
    const policy = (gpu?: object) => TeePolicy.parse({ version: 1, ...(gpu === undefined ? {} : { gpu }) });
    const shown = good.slice(0, 5).map(([, bytes, pem]) => verifySpdm(bytes, pem, NOW));
    expect(shown.every(({ isGpu }) => isGpu)).toBe(true);
    const models = shown.map(({ model }) => model);
    const wanted = (gpu: object) => () => appraiseGpus(models, policy(gpu));
    for (const gpu of [{}, { count: 5 }, { count: 5, models: ['GH100', 'GB100'] }]) expect(wanted(gpu)).not.toThrow();
    expect(() => appraiseGpus([], policy())).not.toThrow();
    for (const gpu of [{ count: 6 }, { models: ['GH100'] }, { models: ['GB100'] }])
      expect(wanted(gpu)).toThrow(refused('TEE_PLATFORM_NOT_ALLOWED'));
    expect(() => appraiseGpus([], policy({}))).toThrow(refused('TEE_PLATFORM_NOT_ALLOWED'));
  });

  test('a signature that does not verify and chains that end elsewhere are refused', () => {
    expect(() =>
      verifySpdm(report('sdk.hopperAttestationReportInvalidSignature.txt'), chain('sdk.hopperCertChain.txt'), NOW),
    ).toThrow(refused('TEE_SIGNATURE_INVALID'));
    const bytes = report('sdk.hopperAttestationReport.txt');
    const blocks = chain('sdk.hopperCertChain.txt').match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? [];
    expect(() => verifySpdm(bytes, blocks.slice(0, -1).join('\n'), NOW)).toThrow(refused('TEE_CHAIN_UNTRUSTED'));
    expect(() => verifySpdm(bytes, blocks.slice(1).join('\n'), NOW)).toThrow(refused('TEE_SIGNATURE_INVALID'));
    expect(() => verifySpdm(bytes, chain('sdk.rim_root.crt'), NOW)).toThrow(/^The chain|certificates|signed/);
    expect(() => verifySpdm(Buffer.alloc(10), chain('sdk.hopperCertChain.txt'), NOW)).toThrow(refused('TEE_MALFORMED'));
  });

  test("tokens of NRAS whose key is in no key set of ours are refused, as are all that aren't tokens", async () => {
    const bundle = read('nvidia/sdk.hopperClaimsv3_detached_eat.json').toString();
    const time = at('2025-06-11T00:30:58Z');
    const none: JSONWebKeySet = { keys: [] };
    await expect(verifyNras(bundle, none, [], time)).rejects.toEqual(refused('TEE_SIGNATURE_INVALID'));
    for (const junk of ['', '[]', '{"a":1}', `[["JWT","a.b.c"],{}]`, `[["JWT","a.b.c"],{"GPU-0":"x"}]`])
      await expect(verifyNras(junk, none, [], time)).rejects.toEqual(refused('TEE_MALFORMED'));
  });
});
