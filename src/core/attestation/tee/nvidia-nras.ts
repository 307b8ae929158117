import { X509Certificate, createHash } from 'node:crypto';
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose';
import { z } from 'zod';
import { TeeRefused } from './tee-refused.ts';

/**
 * Tokens of NVIDIA's Remote Attestation Service (EAT, a detached bundle): one over all devices that holds the
 * digests of one for each. The key set is fetched by the attestor and kept with the evidence, since its keys
 * change daily.
 */
export const NRAS_ISSUER = 'https://nras.attestation.nvidia.com';

const MAX_TOKEN_CHARS = 65_536;
const MAX_DEVICES = 64;

const Compact = z
  .string()
  .max(MAX_TOKEN_CHARS)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);
const Bundle = z.tuple([
  z.tuple([z.literal('JWT'), Compact]),
  z.record(z.string().regex(/^[A-Z]{3,8}-\d{1,2}$/), Compact),
]);

const Overall = z.looseObject({
  eat_nonce: z.string().max(256),
  'x-nvidia-overall-att-result': z.literal(true),
  submods: z.record(z.string(), z.tuple([z.literal('DIGEST'), z.tuple([z.literal('SHA-256'), z.string()])])),
});

const Device = z.looseObject({
  eat_nonce: z.string().max(256),
  measres: z.literal('success'),
  secboot: z.literal(true),
  dbgstat: z.literal('disabled'),
  hwmodel: z.string().regex(/^[ -~]{1,100}$/),
  ueid: z.string().max(100),
  'x-nvidia-gpu-driver-version': z.string().max(40).optional(),
  'x-nvidia-gpu-vbios-version': z.string().max(40).optional(),
});

export interface NrasDevice {
  readonly name: string;
  readonly hwModel: string;
  readonly ueid: string;
  readonly driver: string | undefined;
  readonly vbios: string | undefined;
}

export interface NrasResult {
  readonly nonce: string;
  readonly devices: readonly NrasDevice[];
}

/**
 * Verifies a detached bundle against a key set, as of `atMs`. `pinnedSpki` are SHA-256 of the public keys
 * (SPKI) that must have signed each key's certificate; empty where the key set itself is pinned. Throws
 * TeeRefused.
 */
export async function verifyNras(
  text: string,
  keySet: JSONWebKeySet,
  pinnedSpki: readonly string[],
  atMs: number,
): Promise<NrasResult> {
  if (!Number.isSafeInteger(atMs) || atMs < 0) throw new TeeRefused('TEE_NOT_FRESH', 'The time is not a time.');
  const parsed = Bundle.safeParse(jsonOf(text));
  if (!parsed.success)
    throw new TeeRefused('TEE_MALFORMED', 'The bundle is not an overall token with one for each device.');
  const [[, overallToken], deviceTokens] = parsed.data;
  const names = Object.keys(deviceTokens);
  if (names.length === 0 || names.length > MAX_DEVICES)
    throw new TeeRefused('TEE_MALFORMED', `The bundle is about ${names.length} devices.`);
  const keys = createLocalJWKSet(keySet);
  const read = async (token: string): Promise<JWTPayload> => {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, keys, {
        issuer: NRAS_ISSUER,
        algorithms: ['ES384'],
        currentDate: new Date(atMs),
        requiredClaims: ['exp', 'iat', 'eat_nonce'],
      });
      requirePinned(keySet, protectedHeader.kid, pinnedSpki, atMs);
      return payload;
    } catch (cause) {
      if (cause instanceof TeeRefused) throw cause;
      throw new TeeRefused(
        cause instanceof errors.JWTExpired ? 'TEE_NOT_FRESH' : 'TEE_SIGNATURE_INVALID',
        'A token of NRAS does not verify, or not at this time.',
        { cause },
      );
    }
  };
  const overall = Overall.safeParse(await read(overallToken));
  if (!overall.success)
    throw new TeeRefused('TEE_MEASUREMENT_UNKNOWN', 'NRAS does not say that all devices are as they should be.');
  const { eat_nonce: nonce, submods } = overall.data;
  if (Object.keys(submods).toSorted().join() !== names.toSorted().join())
    throw new TeeRefused('TEE_MALFORMED', 'The overall token is about other devices than the bundle.');
  const devices: NrasDevice[] = [];
  for (const [name, token] of Object.entries(deviceTokens)) {
    if (submods[name]?.[1][1] !== createHash('sha256').update(token).digest('hex'))
      throw new TeeRefused('TEE_SIGNATURE_INVALID', `The token of ${name} is not the one of the overall token.`);
    const device = Device.safeParse(await read(token));
    if (!device.success)
      throw new TeeRefused('TEE_MEASUREMENT_UNKNOWN', `NRAS does not say that ${name} is as it should be.`);
    if (device.data.eat_nonce !== nonce) throw new TeeRefused('TEE_NOT_FRESH', `${name} answers another nonce.`);
    devices.push({
      name,
      hwModel: device.data.hwmodel,
      ueid: device.data.ueid,
      driver: device.data['x-nvidia-gpu-driver-version'],
      vbios: device.data['x-nvidia-gpu-vbios-version'],
    });
  }
  return { nonce, devices };
}

function jsonOf(text: string): unknown {
  try {
    return text.length > MAX_TOKEN_CHARS * 8 ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The key's certificate chain must hold itself together and pass through a pinned key. */
function requirePinned(keySet: JSONWebKeySet, kid: string | undefined, pinned: readonly string[], atMs: number): void {
  if (pinned.length === 0) return;
  const key = keySet.keys.find((candidate) => candidate.kid === kid);
  const chain = (key?.x5c ?? []).map((der) => new X509Certificate(Buffer.from(der, 'base64')));
  const [leaf] = chain;
  const jwk = leaf?.publicKey.export({ format: 'jwk' });
  const sound =
    jwk !== undefined &&
    jwk.x === key?.x &&
    jwk.y === key?.y &&
    chain.every((certificate, index) => {
      const issuer = chain[index + 1];
      return (
        atMs >= Date.parse(certificate.validFrom) &&
        atMs <= Date.parse(certificate.validTo) &&
        (issuer === undefined || certificate.verify(issuer.publicKey))
      );
    });
  const spkis = chain.slice(1).map((certificate) =>
    createHash('sha256')
      .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
      .digest('hex'),
  );
  if (!sound || !spkis.some((spki) => pinned.includes(spki)))
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The key of the token is not certified by a pinned one.');
}
