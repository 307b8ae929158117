/**
 * Proof of possession. A worker signs every request with its enrolled key: the method, the address, its
 * session, a number that only grows and the digest of the body. A stolen session is worth nothing without the
 * key, a request that was overheard counts once, and no part of it can be changed. No time is signed: the
 * clocks of worker and gateway may differ by hours.
 */
const REQUEST_DOMAIN = 'cb/gateway-request/v1\0';
const SESSION_DOMAIN = 'cb/gateway-session/v1\0';

/** The headers of a signed request. */
export const SIGNED_HEADERS = {
  /** The public key, 32 bytes as base64. */
  key: 'countersign-worker-key',
  session: 'countersign-session',
  /** The number of the request in its session, from 1. */
  number: 'countersign-number',
  /** SHA-256 of the body as 64 hexadecimal digits; of no body, that of no bytes. */
  body: 'countersign-body-sha256',
  /** The Ed25519 signature as base64. */
  signature: 'countersign-signature',
} as const;

export interface RequestToSign {
  readonly method: string;
  /** Path and query as they stand in the request line. */
  readonly target: string;
  readonly session: string;
  readonly number: number;
  readonly bodySha256: string;
}

/** The bytes that are signed for a request. */
export function requestBytes({ method, target, session, number, bodySha256 }: RequestToSign): Buffer {
  return Buffer.from(`${REQUEST_DOMAIN}${method}\0${target}\0${session}\0${number}\0${bodySha256}`);
}

/** The bytes that are signed to open a session: the gateway's challenge. */
export function sessionBytes(challenge: string): Buffer {
  return Buffer.from(`${SESSION_DOMAIN}${challenge}`);
}
