import { verify, type X509Certificate } from 'node:crypto';
import { AMD_ROOTS, type SnpProduct } from './snp-products.ts';
import { certificateSha256, extensionOf, requireChain } from './x509.ts';
import { TeeRefused } from './tee-refused.ts';

/**
 * AMD SEV-SNP attestation reports (AMD 56860, "SEV Secure Nested Paging Firmware ABI", table
 * ATTESTATION_REPORT) of the versions 2 to 5, signed by a chip's VCEK or a cloud's VLEK.
 */
const REPORT_BYTES = 1_184;
const SIGNED_BYTES = 0x2a0;
const SIGNATURE_NUMBER_BYTES = 72;
const P384_BYTES = 48;
const ECDSA_P384_SHA384 = 1;

export interface SnpTcb {
  /** Turin only; 0 elsewhere. */
  readonly fmc: number;
  readonly bootloader: number;
  readonly tee: number;
  readonly snp: number;
  readonly microcode: number;
}

export interface SnpReport {
  readonly platform: 'sev-snp';
  readonly product: SnpProduct;
  readonly version: number;
  readonly guestSvn: number;
  readonly vmpl: number;
  readonly debug: boolean;
  readonly migrationAgent: boolean;
  readonly measurement: string;
  readonly hostData: string;
  readonly chipId: string;
  readonly signer: 'vcek' | 'vlek';
  readonly reportData: Buffer;
  readonly reportedTcb: SnpTcb;
}

/** OIDs of AMD's certificate extensions (AMD 57230, "VCEK Certificate and KDS Interface"). */
const OID = '1.3.6.1.4.1.3704.1';
const TCB_OIDS = { bootloader: `${OID}.3.1`, tee: `${OID}.3.2`, snp: `${OID}.3.3`, microcode: `${OID}.3.8` } as const;

/**
 * Verifies a report against its chain, the endorsement key first (VCEK or VLEK, then ASK or ASVK, then ARK),
 * as of `atMs`. Whether what it says is acceptable is for the policy. Reports are malleable: never take their
 * hash for a replay key. Throws TeeRefused.
 */
export function verifySnpReport(
  report: Buffer,
  chain: readonly X509Certificate[],
  atMs: number,
  roots: Readonly<Record<SnpProduct, string>> = AMD_ROOTS,
): SnpReport {
  if (report.length !== REPORT_BYTES)
    throw new TeeRefused('TEE_MALFORMED', `A report has ${REPORT_BYTES} bytes, and this one ${report.length}.`);
  const version = report.readUInt32LE(0);
  if (version < 2 || version > 5) throw new TeeRefused('TEE_MALFORMED', `Report version ${version} is not known.`);
  if (report.readUInt32LE(0x34) !== ECDSA_P384_SHA384)
    throw new TeeRefused('TEE_MALFORMED', 'The report is not signed with ECDSA P-384.');
  const [key, , root] = chain;
  if (key === undefined || root === undefined || chain.length !== 3)
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The chain must be endorsement key, AMD SEV key, AMD root key.');
  requireChain(chain, Object.values(roots), atMs);
  const product = (Object.keys(roots) as SnpProduct[]).find((name) => roots[name] === certificateSha256(root));
  if (product === undefined) throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The chain does not end at a pinned root.');

  const signature = Buffer.concat([bigEndian(report, SIGNED_BYTES), bigEndian(report, SIGNED_BYTES + 72)]);
  if (report.subarray(SIGNED_BYTES + 2 * SIGNATURE_NUMBER_BYTES).some((byte) => byte !== 0))
    throw new TeeRefused('TEE_MALFORMED', 'The report has bytes after its signature.');
  const { publicKey } = key;
  if (publicKey.asymmetricKeyType !== 'ec' || publicKey.asymmetricKeyDetails?.namedCurve !== 'secp384r1')
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The endorsement key is not on P-384.');
  if (!verify('sha384', report.subarray(0, SIGNED_BYTES), { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The report is not signed by the endorsement key.');

  const signer = /CN=SEV-VLEK/.test(key.subject) ? 'vlek' : 'vcek';
  // Bits 2 to 4 of the flags name the signing key: 0 is VCEK, 1 is VLEK.
  const flags = report.readUInt32LE(0x48);
  if (((flags >> 2) & 7) !== (signer === 'vlek' ? 1 : 0))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The report names another kind of signing key than its certificate.');
  const reportedTcb = tcbOf(report.subarray(0x180, 0x188), product);
  requireCertifiedTcb(key, reportedTcb, product);
  const chip = report.subarray(0x1a0, 0x1e0);
  if (signer === 'vcek') requireCertifiedChip(key, chip);
  const policy = report.readBigUInt64LE(0x08);
  return {
    platform: 'sev-snp',
    product,
    version,
    guestSvn: report.readUInt32LE(0x04),
    vmpl: report.readUInt32LE(0x30),
    debug: (policy >> 19n) % 2n === 1n,
    migrationAgent: (policy >> 18n) % 2n === 1n,
    measurement: report.subarray(0x90, 0xc0).toString('hex'),
    hostData: report.subarray(0xc0, 0xe0).toString('hex'),
    chipId: chip.toString('hex'),
    signer,
    reportData: Buffer.from(report.subarray(0x50, 0x90)),
    reportedTcb,
  };
}

/**
 * Which endorsement key a report is signed by, in the words of AMD's key distribution service (AMD 57230).
 * Nothing of the report is verified by this. Throws TeeRefused.
 */
export function snpKeyOf(report: Buffer): {
  /** Undefined where the report does not say. */
  readonly product: SnpProduct | undefined;
  hardwareId(product: SnpProduct): string;
  levels(product: SnpProduct): string;
} {
  if (report.length !== REPORT_BYTES)
    throw new TeeRefused('TEE_MALFORMED', `A report has ${REPORT_BYTES} bytes, and this one ${report.length}.`);
  if (((report[0x48] ?? 0) >> 2) % 8 !== 0)
    throw new TeeRefused('TEE_COLLATERAL_INVALID', 'The key is not of the chip; AMD does not hand it out by chip.');
  const [family, model] = [report[0x188], report[0x189] ?? 0];
  const isMilan = family === 0x19 && model < 0x10;
  const isGenoa = family === 0x19 && ((model >= 0x10 && model < 0x20) || (model >= 0xa0 && model < 0xb0));
  return {
    product: isMilan ? 'milan' : isGenoa ? 'genoa' : family === 0x1a ? 'turin' : undefined,
    hardwareId: (product) => report.subarray(0x1a0, 0x1a0 + (product === 'turin' ? 8 : 64)).toString('hex'),
    levels(product) {
      const { fmc, bootloader, tee, snp, microcode } = tcbOf(report.subarray(0x180, 0x188), product);
      const two = (level: number) => String(level).padStart(2, '0');
      return [
        ...(product === 'turin' ? [`fmcSPL=${two(fmc)}`] : []),
        `blSPL=${two(bootloader)}`,
        `teeSPL=${two(tee)}`,
        `snpSPL=${two(snp)}`,
        `ucodeSPL=${two(microcode)}`,
      ].join('&');
    },
  };
}

/** A number of the signature: little endian in 72 bytes, of which the last 24 must be zero. */
function bigEndian(report: Buffer, at: number): Buffer {
  if (report.subarray(at + P384_BYTES, at + SIGNATURE_NUMBER_BYTES).some((byte) => byte !== 0))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The signature has numbers beyond P-384.');
  return Buffer.from(report.subarray(at, at + P384_BYTES)).reverse();
}

function tcbOf(bytes: Buffer, product: SnpProduct): SnpTcb {
  const at = (index: number) => bytes[index] ?? 0;
  return product === 'turin'
    ? { fmc: at(0), bootloader: at(1), tee: at(2), snp: at(3), microcode: at(7) }
    : { fmc: 0, bootloader: at(0), tee: at(1), snp: at(6), microcode: at(7) };
}

/** The certificate is made for one TCB, which must be the one that the report names. */
function requireCertifiedTcb(key: X509Certificate, tcb: SnpTcb, product: SnpProduct): void {
  const oids = product === 'turin' ? { ...TCB_OIDS, fmc: `${OID}.3.9` } : TCB_OIDS;
  for (const [name, oid] of Object.entries(oids)) {
    const value = smallInteger(extensionOf(key, oid));
    if (value !== tcb[name as keyof SnpTcb])
      throw new TeeRefused('TEE_SIGNATURE_INVALID', `The certificate is for another ${name} level than the report's.`);
  }
}

/** A DER INTEGER from 0 to 255. */
function smallInteger(der: Buffer | undefined): number | undefined {
  if (der?.[0] !== 0x02) return undefined;
  if (der[1] === 1 && der.length === 3) return der[2];
  return der[1] === 2 && der.length === 4 && der[2] === 0 ? der[3] : undefined;
}

function requireCertifiedChip(key: X509Certificate, chip: Buffer): void {
  const value = extensionOf(key, `${OID}.4`);
  // Older certificates hold the bytes themselves, newer ones as an OCTET STRING.
  const id = value?.length === 66 || value?.length === 10 ? value.subarray(2) : value;
  const same = id !== undefined && id.length >= 8 && chip.subarray(0, id.length).equals(id);
  if (!same || chip.subarray(id.length).some((byte) => byte !== 0))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The certificate is for another chip than the report.');
}
