import { verify, type X509Certificate } from 'node:crypto';
import { certificatesOfPem, requireChain } from './x509.ts';
import { TeeRefused } from './tee-refused.ts';

/**
 * Evidence of an NVIDIA GPU or NVSwitch: an SPDM 1.1 GET_MEASUREMENTS request and the MEASUREMENTS response
 * (DMTF DSP0274), signed by the device with ECDSA P-384. What the measurements should be (the RIM) and
 * whether NVIDIA has revoked the certificate (OCSP) is not checked here; NRAS does that.
 */

/** SHA-256 of "NVIDIA Device Identity CA". */
export const NVIDIA_ROOT = '102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48';

const REQUEST_BYTES = 37;
const SIGNATURE_BYTES = 96;
const MAX_BYTES = 65_536;
const GET_MEASUREMENTS = 0xe0;
const MEASUREMENTS = 0x60;
const SPDM_1_1 = 0x11;
const NONCE_AT = 4;

export interface GpuReport {
  readonly nonce: Buffer;
  /** Serial number of the device's certificate. */
  readonly device: string;
  /** The name in the device's certificate, whose first word is the chip: `GH100`, or `LS10` of a switch. */
  readonly model: string;
  readonly isGpu: boolean;
}

/** The chips of GPUs are named so by NVIDIA; those of NVSwitches are not. */
const GPU_CHIP = /^G[A-Z]\d{3}[A-Z]? /;

/**
 * Verifies the evidence bytes (request and response) against the device's chain in PEM, the leaf first.
 * Throws TeeRefused.
 */
export function verifySpdm(evidence: Buffer, chainPem: string, atMs: number): GpuReport {
  if (evidence.length < REQUEST_BYTES + 8 + SIGNATURE_BYTES || evidence.length > MAX_BYTES)
    throw new TeeRefused('TEE_MALFORMED', 'The GPU evidence has an impossible length.');
  if (
    evidence[0] !== SPDM_1_1 ||
    evidence[1] !== GET_MEASUREMENTS ||
    evidence[REQUEST_BYTES] !== SPDM_1_1 ||
    evidence[REQUEST_BYTES + 1] !== MEASUREMENTS
  )
    throw new TeeRefused('TEE_MALFORMED', 'The GPU evidence is no SPDM request and response.');
  const chain = certificatesOfPem(chainPem);
  requireChain(chain, [NVIDIA_ROOT], atMs);
  const [leaf] = chain;
  if (leaf?.publicKey.asymmetricKeyDetails?.namedCurve !== 'secp384r1')
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', "The device's key is not on P-384.");
  const signed = evidence.subarray(0, -SIGNATURE_BYTES);
  const signature = evidence.subarray(-SIGNATURE_BYTES);
  if (!verify('sha384', signed, { key: leaf.publicKey, dsaEncoding: 'ieee-p1363' }, signature))
    throw new TeeRefused('TEE_SIGNATURE_INVALID', 'The GPU evidence is not signed by the device.');
  return {
    nonce: Buffer.from(evidence.subarray(NONCE_AT, NONCE_AT + 32)),
    device: leaf.serialNumber.toLowerCase(),
    model: modelOf(leaf),
    isGpu: GPU_CHIP.test(modelOf(leaf)),
  };
}

function modelOf(leaf: X509Certificate): string {
  return /CN=([ -~]{1,64})/.exec(leaf.subject)?.[1] ?? '';
}
