import { decode, encode } from 'cborg';
import { verify } from 'node:crypto';
import { z } from 'zod';
import { certificateSha256, parseCertificate, requireChain } from './x509.ts';
import { TeeRefused } from './tee-refused.ts';

/** AWS Nitro Enclaves attestation documents: COSE_Sign1 (RFC 9052) with ES384 over CBOR. */

/** SHA-256 of the AWS Nitro Enclaves root certificate (G1). */
export const NITRO_ROOT = '641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b';

const MAX_BYTES = 32_768;
/** The protected header {1: -35}: ES384 and nothing else. */
const ES384_HEADER = 'a1013822';
const COSE_SIGN1_TAG = 0xd2;
const STRICT = { strict: true, rejectDuplicateMapKeys: true, useMaps: true } as const;

const Bytes = z.instanceof(Uint8Array).transform((bytes) => Buffer.from(bytes));
const optionalBytes = (most: number) =>
  z
    .instanceof(Uint8Array)
    .refine((bytes) => bytes.length <= most)
    .transform((bytes) => Buffer.from(bytes))
    .nullish();

const Document = z.strictObject({
  module_id: z.string().min(1).max(200),
  digest: z.literal('SHA384'),
  timestamp: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  pcrs: z.map(
    z.number().int().min(0).max(31),
    Bytes.refine((bytes) => [32, 48, 64].includes(bytes.length)),
  ),
  certificate: Bytes.refine((bytes) => bytes.length >= 1 && bytes.length <= 2_048),
  cabundle: z
    .array(Bytes.refine((bytes) => bytes.length >= 1 && bytes.length <= 2_048))
    .min(1)
    .max(8),
  public_key: optionalBytes(1_024),
  user_data: optionalBytes(512),
  nonce: optionalBytes(512),
});

export interface NitroDocument {
  readonly platform: 'nitro';
  readonly moduleId: string;
  readonly timestampMs: number;
  /** Hexadecimal, by number; all that are locked. */
  readonly pcrs: Readonly<Record<number, string>>;
  /** PCR0 to PCR2 are zero: the enclave's memory can be read. */
  readonly debug: boolean;
  readonly userData: Buffer | undefined;
  readonly publicKey: Buffer | undefined;
  readonly nonce: Buffer | undefined;
}

/**
 * Verifies a document and its chain as of `atMs`. Its leaf certificate lives for three hours. Whether it is
 * fresh, and what its registers may hold, is for the policy. Throws TeeRefused.
 */
export function verifyNitroDocument(bytes: Buffer, atMs: number): NitroDocument {
  if (bytes.length > MAX_BYTES) throw new TeeRefused('TEE_MALFORMED', 'The document is too long.');
  const untagged = bytes[0] === COSE_SIGN1_TAG ? bytes.subarray(1) : bytes;
  const envelope = decodeCbor(untagged, false);
  if (!Array.isArray(envelope) || envelope.length !== 4)
    throw new TeeRefused('TEE_MALFORMED', 'The document is no COSE_Sign1.');
  const [header, unprotected, payload, signature] = envelope as unknown[];
  if (
    !(header instanceof Uint8Array) ||
    !(payload instanceof Uint8Array) ||
    !(signature instanceof Uint8Array) ||
    Buffer.from(header).toString('hex') !== ES384_HEADER ||
    !(unprotected instanceof Map) ||
    unprotected.size > 0
  )
    throw new TeeRefused('TEE_MALFORMED', 'The document is not signed with ES384, or has further headers.');
  const raw = decodeCbor(Buffer.from(payload), true);
  const parsed = Document.safeParse(raw instanceof Map ? Object.fromEntries(raw) : raw);
  if (!parsed.success) throw new TeeRefused('TEE_MALFORMED', 'The document lacks members or has others.');
  const { data } = parsed;
  const leaf = parseCertificate(data.certificate);
  // The bundle begins with the root.
  const chain = [leaf, ...data.cabundle.toReversed().map(parseCertificate)];
  requireChain(chain, [NITRO_ROOT], atMs);
  if (chain.slice(0, -1).some((certificate) => certificateSha256(certificate) === NITRO_ROOT))
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The root stands within the chain.');
  const signed = encode(['Signature1', header, new Uint8Array(), payload]);
  const { publicKey } = leaf;
  if (
    publicKey.asymmetricKeyDetails?.namedCurve !== 'secp384r1' ||
    signature.length !== 96 ||
    !verify('sha384', signed, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)
  )
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The document is not signed by its certificate.');
  const pcrs = Object.fromEntries([...data.pcrs].map(([number, value]) => [number, value.toString('hex')]));
  return {
    platform: 'nitro',
    moduleId: data.module_id,
    timestampMs: data.timestamp,
    pcrs,
    debug: [0, 1, 2].every((number) => /^0+$/.test(pcrs[number] ?? '0')),
    userData: data.user_data ?? undefined,
    publicKey: data.public_key ?? undefined,
    nonce: data.nonce ?? undefined,
  };
}

/** One CBOR item, whole and minimal; the payload may be of indefinite length, as AWS writes it. */
function decodeCbor(bytes: Buffer, allowIndefinite: boolean): unknown {
  try {
    return decode(bytes, { ...STRICT, allowIndefinite });
  } catch (cause) {
    throw new TeeRefused('TEE_MALFORMED', 'The document is not strict CBOR.', { cause });
  }
}
