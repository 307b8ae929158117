import { createHash, createPublicKey, verify, type KeyObject, type X509Certificate } from 'node:crypto';
import { z } from 'zod';
import type { TdxQuote } from './tdx-quote.ts';
import { platformOf, type Platform } from './pck-certificate.ts';
import { TeeRefused } from './tee-refused.ts';
import { certificatesOfPem, requireChain, requireNotRevoked } from './x509.ts';

/** What is read of Intel's data, whose signatures hold. */
interface JudgedBy {
  readonly pck_crl: string;
  readonly tcb_info: string;
  readonly qe_identity: string;
  readonly pck_certificate_chain?: string | undefined;
}

/**
 * Our own judgement of a TDX quote, after Intel's rules for its verification library: who signed it, and
 * what Intel says of the platform, of the quoting enclave, and of the TDX module. Libraries by others judge
 * the same quote, and know nothing of the module.
 */
export interface TdxJudgement {
  /** The state of platform and quoting enclave, as libraries judge it; undefined where no level fits. */
  readonly plainStatus: string | undefined;
  /** The state with the TDX module's own, which counts. */
  readonly status: string;
  readonly advisories: readonly string[];
}

const Level = z.object({
  tcbStatus: z.string().max(60),
  advisoryIDs: z.array(z.string().max(40)).max(200).default([]),
});
type Level = z.infer<typeof Level>;
const Components = z.array(z.object({ svn: z.number().int() })).length(16);
const SvnLevels = z.array(Level.extend({ tcb: z.object({ isvsvn: z.number().int() }) })).max(100);

const TcbInfo = z.object({
  id: z.literal('TDX'),
  fmspc: z.string(),
  tcbLevels: z
    .array(
      Level.extend({
        tcb: z.object({
          sgxtcbcomponents: Components,
          pcesvn: z.number().int(),
          tdxtcbcomponents: Components,
        }),
      }),
    )
    .max(200),
  tdxModuleIdentities: z
    .array(
      z.object({
        id: z.string(),
        mrsigner: z.string(),
        attributes: z.string(),
        attributesMask: z.string(),
        tcbLevels: SvnLevels,
      }),
    )
    .max(100)
    .default([]),
});
type TcbInfo = z.infer<typeof TcbInfo>;

const QeIdentity = z.object({
  id: z.literal('TD_QE'),
  miscselect: z.string(),
  miscselectMask: z.string(),
  attributes: z.string(),
  attributesMask: z.string(),
  mrsigner: z.string(),
  isvprodid: z.number().int(),
  tcbLevels: SvnLevels,
});

/**
 * Judges a quote by collateral whose signatures and dates hold already, as of `atMs`. Throws TeeRefused.
 */
export async function judgeTdxQuote(quote: TdxQuote, collateral: JudgedBy, atMs: number): Promise<TdxJudgement> {
  const leaf = await requireSigned(quote, collateral, atMs);
  const tcbInfo = read(TcbInfo, collateral.tcb_info, 'TCB info');
  const platform = platformOf(leaf);
  if (platform.fmspc !== tcbInfo.fmspc.toLowerCase())
    throw new TeeRefused('TEE_COLLATERAL_INVALID', "Intel's data is about another platform.");
  const enclave = enclaveLevel(quote.qeReport, read(QeIdentity, collateral.qe_identity, 'identity of the enclave'));
  const plain = platformLevel(tcbInfo, platform, quote.report.teeTcbSvn, 0);
  const module = moduleLevel(tcbInfo, quote);
  // The module's level and version stand in the first two components; where the version is above 0, the level
  // is judged by the module's identity instead.
  const level = module === undefined ? plain : platformLevel(tcbInfo, platform, quote.report.teeTcbSvn, 2);
  if (level === undefined)
    throw new TeeRefused('TEE_TCB_OUT_OF_DATE', 'The platform is older than all that Intel names.');
  const parts = [enclave, ...(module === undefined ? [] : [module])];
  return {
    plainStatus: plain && merged(plain, [enclave]),
    status: merged(level, parts),
    advisories: [...new Set([level, ...parts].flatMap(({ advisoryIDs }) => advisoryIDs))],
  };
}

/** The certificate of the platform, once it has signed for the quoting enclave, and that one the quote. */
async function requireSigned(quote: TdxQuote, collateral: JudgedBy, atMs: number): Promise<X509Certificate> {
  const pem = collateral.pck_certificate_chain ?? quote.pckChain;
  if (pem === undefined) throw new TeeRefused('TEE_COLLATERAL_INVALID', 'The certificates of the platform are absent.');
  const chain = certificatesOfPem(pem);
  const [leaf, issuer] = chain;
  if (leaf === undefined || issuer === undefined)
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The chain of the platform is too short.');
  requireChain(chain, [INTEL_ROOT], atMs);
  await requireNotRevoked(Buffer.from(collateral.pck_crl, 'hex'), issuer, [leaf], atMs);
  requireSignature(leaf.publicKey, quote.qeReport, quote.qeSignature, 'The quoting enclave');
  const bound = createHash('sha256').update(quote.attestationKey).update(quote.qeAuthData).digest();
  if (!quote.qeReport.subarray(QE_REPORT_DATA, QE_REPORT_DATA + 32).equals(bound))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The quoting enclave vouches for another key.');
  requireSignature(pointKey(quote.attestationKey), quote.signed, quote.signature, 'The quote');
  return leaf;
}

/** SHA-256 of "Intel SGX Root CA". */
export const INTEL_ROOT = '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3';

/** Where members of an enclave's report stand (Intel SGX, REPORT structure). */
const QE_MISCSELECT = 16;
const QE_ATTRIBUTES = 48;
const QE_MRSIGNER = 128;
const QE_PRODUCT = 256;
const QE_SVN = 258;
const QE_REPORT_DATA = 320;

function requireSignature(key: KeyObject, signed: Buffer, signature: Buffer, name: string): void {
  const isP256 = key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
  if (!isP256 || !verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', `${name} is not signed as it says.`);
}

function pointKey(point: Buffer): KeyObject {
  const x = point.subarray(0, 32).toString('base64url');
  const y = point.subarray(32).toString('base64url');
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  } catch (cause) {
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The key of the quote is no point.', { cause });
  }
}

function read<Schema extends z.ZodType>(schema: Schema, text: string, name: string): z.infer<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new TeeRefused('TEE_COLLATERAL_INVALID', `Intel's ${name} lacks members.`, { cause });
  }
}

function enclaveLevel(report: Buffer, identity: z.infer<typeof QeIdentity>): Level {
  const isOurs =
    same(report.subarray(QE_MRSIGNER, QE_MRSIGNER + 32), identity.mrsigner) &&
    report.readUInt16LE(QE_PRODUCT) === identity.isvprodid &&
    same(report.subarray(QE_MISCSELECT, QE_MISCSELECT + 4), identity.miscselect, identity.miscselectMask) &&
    same(report.subarray(QE_ATTRIBUTES, QE_ATTRIBUTES + 16), identity.attributes, identity.attributesMask);
  if (!isOurs) throw new TeeRefused('TEE_SIGNATURE_INVALID', "The quoting enclave is not Intel's.");
  return svnLevel(identity.tcbLevels, report.readUInt16LE(QE_SVN), 'quoting enclave');
}

/** Whether bytes are those of a text of hexadecimal digits, where the mask has bits. */
function same(bytes: Buffer, hex: string, maskHex = 'ff'.repeat(bytes.length)): boolean {
  const [wanted, mask] = [Buffer.from(hex, 'hex'), Buffer.from(maskHex, 'hex')];
  if (wanted.length !== bytes.length || mask.length !== bytes.length) return false;
  return bytes.every((byte, at) => (byte & (mask[at] ?? 0)) === ((wanted[at] ?? 0) & (mask[at] ?? 0)));
}

function svnLevel(levels: z.infer<typeof SvnLevels>, svn: number, name: string): Level {
  const level = levels.find(({ tcb }) => svn >= tcb.isvsvn);
  if (level === undefined)
    throw new TeeRefused('TEE_TCB_OUT_OF_DATE', `The ${name} is older than all that Intel names.`);
  return level;
}

/** The first level that the platform reaches; components of TDX count from `from` on. */
function platformLevel({ tcbLevels }: TcbInfo, platform: Platform, teeTcbSvn: Buffer, from: number): Level | undefined {
  const reaches = (own: readonly number[], wanted: readonly { svn: number }[]) =>
    wanted.every(({ svn }, at) => (own[at] ?? -1) >= svn);
  return tcbLevels.find(
    ({ tcb }) =>
      platform.pceSvn >= tcb.pcesvn &&
      reaches(platform.components, tcb.sgxtcbcomponents) &&
      reaches([...teeTcbSvn].slice(from), tcb.tdxtcbcomponents.slice(from)),
  );
}

/** What Intel says of the TDX module; undefined for version 0, which has no identity of its own. */
function moduleLevel({ tdxModuleIdentities }: TcbInfo, { report }: TdxQuote): Level | undefined {
  const [svn = 0, version = 0] = report.teeTcbSvn;
  if (version === 0) return undefined;
  const id = `TDX_${version.toString(16).padStart(2, '0')}`;
  const identity = tdxModuleIdentities.find((one) => one.id.toLowerCase() === id.toLowerCase());
  if (identity === undefined)
    throw new TeeRefused('TEE_TCB_OUT_OF_DATE', `Intel names no TDX module of version ${version}.`);
  if (
    !same(report.mrSignerSeam, identity.mrsigner) ||
    !same(report.seamAttributes, identity.attributes, identity.attributesMask)
  )
    throw new TeeRefused('TEE_CONFIGURATION_FORBIDDEN', "The TDX module is not Intel's, or is in a debug mode.");
  return svnLevel(identity.tcbLevels, svn, 'TDX module');
}

/** The platform's state, made worse by what is out of date or revoked beside it. */
function merged(platform: Level, parts: readonly Level[]): string {
  const states = parts.map(({ tcbStatus }) => tcbStatus);
  if ([platform.tcbStatus, ...states].includes('Revoked')) return 'Revoked';
  if (!states.includes('OutOfDate')) return platform.tcbStatus;
  return platform.tcbStatus.includes('Configuration') ? 'OutOfDateConfigurationNeeded' : 'OutOfDate';
}
