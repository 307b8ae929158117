import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { verify as verifyQuote } from '@phala/dcap-qvl';
import { initSync, js_verify as verifyByWasm } from '@phala/dcap-qvl-web';
import { z } from 'zod';
import { messageOf } from '../../../ground/errors/coded-error.ts';
import { INTEL_ROOT, judgeTdxQuote } from './tdx-judge.ts';
import { isTdxQuote, parseTdxQuote } from './tdx-quote.ts';
import { certificatesOfPem, requireChain, requireNotRevoked } from './x509.ts';
import { TeeRefused, type TeeRefusal } from './tee-refused.ts';

/**
 * Intel TDX and SGX quotes (DCAP). Two must judge a quote and agree: a library by others, and for TDX we
 * ourselves (`judgeTdxQuote`); a second library too, for what it reads (SGX, and TDX of version 4). What
 * libraries do not check is checked here: one does not authenticate revocation lists and takes a time that is
 * not a number, the other passes over the identity of the quoting enclave, and both over the TDX module.
 */

const MAX_QUOTE_BYTES = 32_768;

const Hex = z
  .string()
  .max(65_536)
  .regex(/^(?:[0-9a-fA-F]{2})+$/);
const Chain = z.string().max(32_768);
const SignedJson = z.string().max(131_072);

/**
 * What Intel's provisioning certification service says, in the form that DCAP libraries share. It is fetched
 * by the attestor.
 */
export const TdxCollateral = z.object({
  pck_crl_issuer_chain: Chain,
  root_ca_crl: Hex,
  pck_crl: Hex,
  tcb_info_issuer_chain: Chain,
  tcb_info: SignedJson,
  tcb_info_signature: Hex,
  qe_identity_issuer_chain: Chain,
  qe_identity: SignedJson,
  qe_identity_signature: Hex,
  pck_certificate_chain: Chain.optional(),
});
export type TdxCollateral = z.infer<typeof TdxCollateral>;

export interface IntelQuote {
  readonly platform: 'tdx' | 'sgx';
  /** `UpToDate` and what Intel calls the lesser ones. */
  readonly tcbStatus: string;
  readonly advisories: readonly string[];
  readonly tcbEvaluationDataNumber: number;
  readonly reportData: Buffer;
  /**
   * mrTd, rtMr0 to rtMr3, mrSeam, mrConfigId, mrOwner, tdAttributes, xfam; mrEnclave and mrSigner of an
   * enclave. Hexadecimal.
   */
  readonly measurements: Readonly<Record<string, string>>;
}

let isWasmReady = false;

/**
 * Verifies a quote with its collateral, as of `atMs`. Quotes are malleable: never take their hash for a
 * replay key. Throws TeeRefused.
 */
export async function verifyIntelQuote(quote: Buffer, collateral: unknown, atMs: number): Promise<IntelQuote> {
  if (!Number.isSafeInteger(atMs) || atMs < 0) throw new TeeRefused('TEE_NOT_FRESH', 'The time is not a time.');
  if (quote.length > MAX_QUOTE_BYTES) throw new TeeRefused('TEE_MALFORMED', 'The quote is too long.');
  const parsed = TdxCollateral.safeParse(collateral);
  if (!parsed.success)
    throw new TeeRefused('TEE_COLLATERAL_INVALID', 'The collateral lacks members, or they are malformed.');
  await requireCollateral(parsed.data, atMs);
  const seconds = Math.floor(atMs / 1_000);
  if (isTdxQuote(quote)) return verifyTdx(quote, parsed.data, atMs);
  const verified = byLibrary(quote, parsed.data, seconds);
  requireSameByWasm(quote, parsed.data, seconds, verified.status);
  const sgx = verified.report.asSgx();
  if (sgx === null) throw new TeeRefused('TEE_MALFORMED', 'The quote is of no kind that is known.');
  return {
    platform: 'sgx',
    tcbStatus: verified.status,
    advisories: verified.advisory_ids,
    tcbEvaluationDataNumber: evaluationNumber(parsed.data.tcb_info),
    reportData: Buffer.from(sgx.reportData),
    measurements: { mrEnclave: hex(sgx.mrEnclave), mrSigner: hex(sgx.mrSigner), attributes: hex(sgx.attributes) },
  };
}

async function verifyTdx(bytes: Buffer, collateral: TdxCollateral, atMs: number): Promise<IntelQuote> {
  const seconds = Math.floor(atMs / 1_000);
  const quote = parseTdxQuote(bytes);
  const theirs = statusByLibrary(bytes, collateral, seconds);
  const ours = await judgeTdxQuote(quote, collateral, atMs);
  if (theirs !== ours.plainStatus) throw disagreement();
  if (quote.version === 4 && theirs !== undefined) requireSameByWasm(bytes, collateral, seconds, theirs);
  const td = quote.report;
  // Where no level fits without the module's own, the library has not come to look at these.
  if (!isZero(td.mrSignerSeam) || !isZero(td.seamAttributes))
    throw new TeeRefused('TEE_CONFIGURATION_FORBIDDEN', "The TDX module is not Intel's, or is in a debug mode.");
  if (td.mrServiceTd !== undefined && !isZero(td.mrServiceTd))
    throw new TeeRefused('TEE_CONFIGURATION_FORBIDDEN', 'The guest has a service guest that can read it.');
  return {
    platform: 'tdx',
    tcbStatus: ours.status,
    advisories: ours.advisories,
    tcbEvaluationDataNumber: evaluationNumber(collateral.tcb_info),
    reportData: Buffer.from(td.reportData),
    measurements: {
      mrTd: hex(td.mrTd),
      rtMr0: hex(td.rtMr0),
      rtMr1: hex(td.rtMr1),
      rtMr2: hex(td.rtMr2),
      rtMr3: hex(td.rtMr3),
      mrSeam: hex(td.mrSeam),
      mrConfigId: hex(td.mrConfigId),
      mrOwner: hex(td.mrOwner),
      tdAttributes: hex(td.tdAttributes),
      xfam: hex(td.xfam),
    },
  };
}

/** What the library says when all holds but that no level of Intel's fits; it compares the module's, too. */
const NO_LEVEL = 'No matching TCB level found';

/** The state of the platform; undefined where all else holds and no level fits. Throws TeeRefused. */
function statusByLibrary(quote: Buffer, collateral: TdxCollateral, seconds: number): string | undefined {
  try {
    return byLibrary(quote, collateral, seconds).status;
  } catch (error) {
    if (error instanceof TeeRefused && error.cause instanceof Error && error.cause.message === NO_LEVEL)
      return undefined;
    throw error;
  }
}

function byLibrary(quote: Buffer, collateral: TdxCollateral, seconds: number): ReturnType<typeof verifyQuote> {
  return asRefusal(() => verifyQuote(quote, collateral, seconds));
}

function requireSameByWasm(quote: Buffer, collateral: TdxCollateral, seconds: number, status: string): void {
  loadWasm();
  const second: unknown = asRefusal((): unknown => verifyByWasm(quote, collateral, BigInt(seconds)));
  const parsed = z.object({ status: z.string() }).safeParse(second);
  if (!parsed.success || parsed.data.status !== status) throw disagreement();
}

const disagreement = () =>
  new TeeRefused('TEE_TCB_OUT_OF_DATE', 'Two verifiers do not agree on the state of the platform.');

function asRefusal<Result>(judge: () => Result): Result {
  try {
    return judge();
  } catch (cause) {
    const why = messageOf(cause);
    throw new TeeRefused(refusalOf(why), `The quote does not verify: ${why.slice(0, 120)}.`, { cause });
  }
}

function refusalOf(why: string): TeeRefusal {
  if (/debug/i.test(why)) return 'TEE_DEBUG';
  if (/mr service td|seam|attributes/i.test(why)) return 'TEE_CONFIGURATION_FORBIDDEN';
  if (/TCB level|outdated/i.test(why)) return 'TEE_TCB_OUT_OF_DATE';
  if (/expired|future/i.test(why)) return 'TEE_COLLATERAL_INVALID';
  if (/revoked/i.test(why)) return 'TEE_REVOKED';
  if (/decode|enough data|parse/i.test(why)) return 'TEE_MALFORMED';
  return 'TEE_SIGNATURE_INVALID';
}

/**
 * Both revocation lists must be in force and signed, and no certificate of the issuing chains may be on them.
 */
async function requireCollateral(collateral: TdxCollateral, atMs: number): Promise<void> {
  for (const pem of [collateral.tcb_info_issuer_chain, collateral.qe_identity_issuer_chain])
    requireChain(certificatesOfPem(pem), [INTEL_ROOT], atMs);
  const pckIssuers = certificatesOfPem(collateral.pck_crl_issuer_chain);
  requireChain(pckIssuers, [INTEL_ROOT], atMs);
  const [pckIssuer, root] = pckIssuers;
  if (pckIssuer === undefined || root === undefined)
    throw new TeeRefused('TEE_COLLATERAL_INVALID', 'The chain of the revocation list is too short.');
  const [tcbSigner] = certificatesOfPem(collateral.tcb_info_issuer_chain);
  await requireNotRevoked(
    Buffer.from(collateral.root_ca_crl, 'hex'),
    root,
    tcbSigner === undefined ? [pckIssuer] : [pckIssuer, tcbSigner],
    atMs,
  );
  const leaves =
    collateral.pck_certificate_chain === undefined ? [] : certificatesOfPem(collateral.pck_certificate_chain);
  await requireNotRevoked(Buffer.from(collateral.pck_crl, 'hex'), pckIssuer, leaves.slice(0, 1), atMs);
}

function evaluationNumber(tcbInfo: string): number {
  const parsed = z
    .object({ tcbEvaluationDataNumber: z.number().int().min(0) })
    .safeParse(JSON.parse(tcbInfo) as unknown);
  if (!parsed.success) throw new TeeRefused('TEE_COLLATERAL_INVALID', 'The TCB info has no evaluation number.');
  return parsed.data.tcbEvaluationDataNumber;
}

function loadWasm(): void {
  if (isWasmReady) return;
  const folder = createRequire(import.meta.url)
    .resolve('@phala/dcap-qvl-web/package.json')
    .replace('package.json', '');
  initSync({ module: readFileSync(`${folder}dcap-qvl-web_bg.wasm`) });
  isWasmReady = true;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
