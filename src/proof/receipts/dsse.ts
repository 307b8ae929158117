import { z } from 'zod';
import { verifyBytes, type PublicKey, type SigningKey } from '../../ground/keys/signing-key.ts';

/** DSSE envelopes (secure-systems-lab/dsse v1) over in-toto Statements, with exactly one signature. */
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';

export const Envelope = z.strictObject({
  payloadType: z.literal(PAYLOAD_TYPE),
  payload: z.string(),
  signatures: z.tuple([z.strictObject({ keyid: z.string().regex(/^[0-9a-f]{64}$/), sig: z.string() })]),
});
export type Envelope = z.infer<typeof Envelope>;

/**
 * A signed payload. Its stored form in Redis is key id, signature and payload, separated by dots. That saves
 * the base64 of the payload; `toEnvelope` makes the envelope again for a receipt.
 */
export interface SignedPayload {
  readonly keyId: string;
  readonly signature: Buffer;
  readonly payload: Buffer;
}

/** Pre-authentication encoding, the bytes that are signed (DSSE protocol, section "Signature definition"). */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}

/** Signs a payload as an in-toto statement or as another type. */
export function signPayload(key: SigningKey, payload: Buffer, payloadType = PAYLOAD_TYPE): SignedPayload {
  return { keyId: key.public.id, signature: key.sign(preAuthEncoding(payloadType, payload)), payload };
}

/** Whether this key signed this payload, as an in-toto statement or as another type. */
export function verifyPayload(key: PublicKey, signed: SignedPayload, payloadType = PAYLOAD_TYPE): boolean {
  return signed.keyId === key.id && verifyBytes(key, preAuthEncoding(payloadType, signed.payload), signed.signature);
}

/** The DSSE envelope of a signed payload. */
export function toEnvelope(signed: SignedPayload): Envelope {
  return {
    payloadType: PAYLOAD_TYPE,
    payload: signed.payload.toString('base64'),
    signatures: [{ keyid: signed.keyId, sig: signed.signature.toString('base64') }],
  };
}

/**
 * The signed payload of an envelope, or why it is refused: base64 must be canonical, so that bytes have one
 * spelling.
 */
export function fromEnvelope(envelope: Envelope): SignedPayload | { refused: string } {
  const payload = Buffer.from(envelope.payload, 'base64');
  const [{ keyid, sig }] = envelope.signatures;
  const signature = Buffer.from(sig, 'base64');
  if (payload.toString('base64') !== envelope.payload) return { refused: 'the payload is not canonical base64' };
  if (signature.toString('base64') !== sig) return { refused: 'the signature is not canonical base64' };
  return { keyId: keyid, signature, payload };
}

/**
 * The stored form. It is text, because ioredis sends a command of texts in one write, and one with a Buffer
 * in many.
 */
export function encodeStored({ keyId, signature, payload }: SignedPayload): string {
  return `${keyId}.${signature.toString('base64')}.${payload.toString('utf8')}`;
}

/** The signed payload of its stored form, or undefined where the bytes are not one. */
export function decodeStored(stored: Buffer): SignedPayload | undefined {
  const head = stored.subarray(0, 160).toString('latin1');
  const parts = /^([0-9a-f]{64})\.([A-Za-z0-9+/]{86}==)\./.exec(head);
  if (parts === null) return undefined;
  const [whole, keyId, sig] = parts;
  if (keyId === undefined || sig === undefined) return undefined;
  const signature = Buffer.from(sig, 'base64');
  if (signature.toString('base64') !== sig) return undefined;
  return { keyId, signature, payload: stored.subarray(whole.length) };
}
