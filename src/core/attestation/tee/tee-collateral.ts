import { readFileSync } from 'node:fs';
import { intel, Quote } from '@phala/dcap-qvl';
import type { JSONWebKeySet } from 'jose';
import { z } from 'zod';
import { CodedError, messageOf } from '../../../ground/errors/coded-error.ts';
import { trustedBase } from '../../../ground/config/fields.ts';
import { readBounded } from '../../../ground/process/bounded-body.ts';
import { snpKeyOf } from './sev-snp.ts';
import { SNP_PRODUCTS } from './snp-products.ts';
import type { TdxCollateral } from './tdx.ts';
import type { TeeCollateral, TeeEvidence } from './tee-evidence.ts';
import { TeeRefused } from './tee-refused.ts';
import { parseCertificate } from './x509.ts';

const FETCH_MS = 15_000;
const MAX_BYTES = 1_048_576;
const CACHE_MS = 3_600_000;
const CACHE_FAILURE_MS = 2_000;
const CACHE_SIZE = 1_000;

/** Where the makers of hardware are asked; a platform that is not named cannot be verified. */
const CollateralSources = z.strictObject({
  version: z.literal(1),
  /**
   * Intel's provisioning certification service or a cache of it (PCCS), version 4; and where the root's
   * revocation list is.
   */
  tdx: z.strictObject({ pcs: trustedBase, rootCrl: trustedBase.optional() }).optional(),
  /** AMD's key distribution service. */
  sevSnp: z.strictObject({ kds: trustedBase }).optional(),
  /** NVIDIA's key set, and SHA-256 of public keys that certify it. */
  nras: z
    .strictObject({ keys: trustedBase, pinnedSpki: z.array(z.string().regex(/^[0-9a-f]{64}$/)).min(1) })
    .optional(),
});
export type CollateralSources = z.infer<typeof CollateralSources>;

/** Throws CodedError `config_invalid`. */
export function readCollateralSources(path: string): CollateralSources {
  try {
    return CollateralSources.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new CodedError(
      'config_invalid',
      `${path} names no sources of collateral: ${messageOf(cause).slice(0, 300)}.`,
      {
        cause,
      },
    );
  }
}

/** A maker of hardware that does not answer, or with something else: nothing is known of the evidence. */
export class CollateralUnavailable extends Error {
  override readonly name = 'CollateralUnavailable';
}

interface Answer {
  readonly body: Buffer;
  readonly headers: Headers;
}

/**
 * What the makers of hardware say, fetched for each platform and kept for an hour. Never taken from a worker.
 */
export class Collateral {
  readonly #sources: CollateralSources;
  readonly #cache = new Map<string, { until: number; answer: Promise<Answer> }>();

  constructor(sources: CollateralSources) {
    this.#sources = sources;
  }

  /** Throws TeeRefused for evidence that names no platform, and CollateralUnavailable. */
  async for({ cpu, gpu }: TeeEvidence): Promise<TeeCollateral> {
    const nras = gpu?.kind === 'nras' ? this.#sources.nras : undefined;
    return {
      ...(cpu.kind === 'tdx' ? { tdx: await this.#tdx(Buffer.from(cpu.quote, 'base64')) } : {}),
      ...(cpu.kind === 'sev-snp' ? { snpChain: await this.#snpChain(Buffer.from(cpu.report, 'base64')) } : {}),
      ...(nras === undefined
        ? {}
        : {
            nrasKeys: JSON.parse((await this.#get(nras.keys)).body.toString()) as JSONWebKeySet,
            nrasPinnedSpki: nras.pinnedSpki,
          }),
    };
  }

  async #tdx(bytes: Buffer): Promise<TdxCollateral> {
    const { tdx } = this.#sources;
    if (tdx === undefined) throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', 'No source of Intel collateral is named.');
    let [fmspc, ca] = ['', ''];
    try {
      const quote = Quote.parse(bytes);
      fmspc = intel.getFmspc(quote).toString('hex').toUpperCase();
      ca = intel.getCa(quote);
    } catch (cause) {
      throw new TeeRefused('TEE_MALFORMED', 'The quote names no platform.', { cause });
    }
    if (!/^[0-9A-F]{12}$/.test(fmspc) || !/^[a-z]{1,20}$/.test(ca))
      throw new TeeRefused('TEE_MALFORMED', 'The quote names no platform.');
    const at = (tee: string, path: string) => `${tdx.pcs}/${tee}/certification/v4/${path}`;
    const [pckCrl, rootCrl, tcb, identity] = await Promise.all([
      this.#get(at('sgx', `pckcrl?ca=${ca}&encoding=der`)),
      this.#get(tdx.rootCrl ?? at('sgx', 'rootcacrl')),
      this.#get(at('tdx', `tcb?fmspc=${fmspc}`)),
      this.#get(at('tdx', 'qe/identity?update=standard')),
    ]);
    const tcbInfo = signedMember(tcb.body, 'tcbInfo');
    const qeIdentity = signedMember(identity.body, 'enclaveIdentity');
    return {
      pck_crl_issuer_chain: chainOf(pckCrl, 'sgx-pck-crl-issuer-chain'),
      root_ca_crl: hexOf(rootCrl.body),
      pck_crl: hexOf(pckCrl.body),
      tcb_info_issuer_chain: chainOf(tcb, 'tcb-info-issuer-chain', 'sgx-tcb-info-issuer-chain'),
      tcb_info: tcbInfo.text,
      tcb_info_signature: tcbInfo.signature,
      qe_identity_issuer_chain: chainOf(identity, 'sgx-enclave-identity-issuer-chain'),
      qe_identity: qeIdentity.text,
      qe_identity_signature: qeIdentity.signature,
    };
  }

  /** The chip's endorsement key for the firmware that the report names, and the two keys above it. */
  async #snpChain(report: Buffer): Promise<string> {
    const { sevSnp } = this.#sources;
    if (sevSnp === undefined) throw new TeeRefused('TEE_PLATFORM_NOT_ALLOWED', 'No source of AMD collateral is named.');
    const wanted = snpKeyOf(report);
    let failure: unknown;
    // Old reports do not say of which product they are.
    for (const product of wanted.product === undefined ? SNP_PRODUCTS : [wanted.product]) {
      const name = `${product[0]?.toUpperCase() ?? ''}${product.slice(1)}`;
      try {
        const [vcek, above] = await Promise.all([
          this.#get(`${sevSnp.kds}/vcek/v1/${name}/${wanted.hardwareId(product)}?${wanted.levels(product)}`),
          this.#get(`${sevSnp.kds}/vcek/v1/${name}/cert_chain`),
        ]);
        return `${parseCertificate(vcek.body).toString()}\n${above.body.toString('latin1')}`;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** Fetched once an hour, and not at once again where it failed a moment ago. */
  #get(url: string): Promise<Answer> {
    const now = performance.now();
    const cached = this.#cache.get(url);
    if (cached !== undefined && now < cached.until) return cached.answer;
    if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
    const entry = { until: now + CACHE_MS, answer: fetchBounded(url) };
    entry.answer.catch(() => {
      entry.until = performance.now() + CACHE_FAILURE_MS;
    });
    this.#cache.set(url, entry);
    return entry.answer;
  }
}

async function fetchBounded(url: string): Promise<Answer> {
  try {
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_MS) });
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    const body = await readBounded(response, MAX_BYTES);
    if (body === undefined) throw new Error(`more than ${MAX_BYTES} bytes`);
    return { body, headers: response.headers };
  } catch (cause) {
    throw new CollateralUnavailable(`${new URL(url).origin} gives no collateral: ${messageOf(cause)}`, { cause });
  }
}

function chainOf({ headers }: Answer, ...names: readonly string[]): string {
  const value = names.map((name) => headers.get(name)).find((found) => found !== null);
  if (value == null) throw new CollateralUnavailable(`an answer lacks its header ${names[0] ?? ''}`);
  return decodeURIComponent(value);
}

/** A cache of Intel's answers gives lists in hexadecimal digits, Intel itself their bytes. */
function hexOf(body: Buffer): string {
  const text = body.toString('latin1').trim();
  return /^(?:[0-9a-fA-F]{2})+$/.test(text) ? text : body.toString('hex');
}

/** The member of an answer of Intel's that is signed, in just the bytes that are. */
function signedMember(body: Buffer, name: string): { text: string; signature: string } {
  const text = body.toString('utf8');
  const json = jsonOf(text);
  const parsed = z.looseObject({ signature: z.string().regex(/^[0-9a-fA-F]{128}$/) }).safeParse(json);
  if (!parsed.success || typeof parsed.data[name] !== 'object')
    throw new CollateralUnavailable(`an answer lacks ${name} or its signature`);
  const from = text.indexOf('{', text.indexOf(`"${name}"`));
  const to = text.lastIndexOf('}', text.lastIndexOf('"signature"'));
  return { text: text.slice(from, to + 1), signature: parsed.data.signature };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
