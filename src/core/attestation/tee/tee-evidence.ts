import type { JSONWebKeySet } from 'jose';
import { z } from 'zod';

const Base64 = z.base64().max(90_000);
const Certificates = z.string().max(65_536);

/**
 * What a worker hands in about its machine. Certificates and collateral that the attestor can fetch are not
 * in it.
 */
export const TeeEvidence = z.strictObject({
  version: z.literal(1),
  cpu: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('tdx'), quote: Base64 }),
    z.strictObject({ kind: z.literal('sev-snp'), report: Base64 }),
    z.strictObject({ kind: z.literal('nitro'), document: Base64 }),
  ]),
  gpu: z
    .discriminatedUnion('kind', [
      z.strictObject({
        kind: z.literal('spdm'),
        evidence: Base64,
        certificates: Certificates,
        /** Of a machine with several GPUs, the evidence of each beside the first. */
        more: z
          .array(z.strictObject({ evidence: Base64, certificates: Certificates }))
          .max(15)
          .optional(),
      }),
      z.strictObject({ kind: z.literal('nras'), bundle: z.string().max(524_288) }),
    ])
    .optional(),
});
export type TeeEvidence = z.infer<typeof TeeEvidence>;

/** What the attestor has fetched itself. */
export interface TeeCollateral {
  /** Intel's, in the form of `TdxCollateral`. */
  readonly tdx?: unknown;
  /** PEM: the endorsement key of the chip, AMD SEV key, AMD root key. */
  readonly snpChain?: string;
  readonly nrasKeys?: JSONWebKeySet;
  /** SHA-256 of public keys that certify NRAS' keys. */
  readonly nrasPinnedSpki?: readonly string[];
}

/** Whom the evidence must be about. */
export interface TeeSubject {
  readonly worker: string;
  readonly publicKey: Buffer;
  readonly tlsSpkiSha256: Buffer;
  /** The attestor's own, made for this worker, not used before. */
  readonly nonce: Buffer;
  readonly modelManifestSha256: Buffer;
}

/** What the CPU's evidence binds of the GPUs: their evidence, one after another. */
export function gpuEvidenceBytes({ gpu }: Pick<TeeEvidence, 'gpu'>): Buffer | undefined {
  if (gpu === undefined) return undefined;
  if (gpu.kind === 'nras') return Buffer.from(gpu.bundle);
  return Buffer.concat([gpu, ...(gpu.more ?? [])].map(({ evidence }) => Buffer.from(evidence, 'base64')));
}
