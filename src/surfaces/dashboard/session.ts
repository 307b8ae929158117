import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** The cookie that carries a session. Only this service reads it; no script of the page can. */
export const COOKIE = 'countersign_session';
/** The header by which the page shows that it, and not another site, asks for a change. */
export const PROOF_HEADER = 'x-countersign-session';
/** A session ends after this long, whatever is done with it. */
export const SESSION_LIFE_MS = 12 * 3_600_000;

const TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** A new secret of 256 random bits, for a session or for a link. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** The name under which a secret is stored: its hash, so that whoever reads Redis cannot sign in with it. */
export function nameOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** The session in a Cookie header; undefined where there is none, or more than one. */
export function tokenIn(cookies: string | undefined): string | undefined {
  const found = (cookies ?? '').split(';').flatMap((pair) => {
    const [name = '', value = ''] = pair.split('=', 2).map((part) => part.trim());
    return name === COOKIE ? [value] : [];
  });
  const [token] = found;
  return found.length === 1 && token !== undefined && TOKEN.test(token) ? token : undefined;
}

/**
 * What the page must send in `PROOF_HEADER`. It follows from the secret, which no other site has: its pages
 * could at most make a browser send the cookie.
 */
export function proofOf(token: string): string {
  return createHmac('sha256', token).update('countersign dashboard').digest('base64url');
}

/** Whether a header proves that the page of this session has sent the request. */
export function isProof(token: string, header: unknown): boolean {
  const [expected, got] = [Buffer.from(proofOf(token)), Buffer.from(typeof header === 'string' ? header : '')];
  return expected.length === got.length && timingSafeEqual(expected, got);
}

/** The header Set-Cookie that begins a session, or without a token ends it. */
export function cookieOf(token: string | undefined, isSecure: boolean): string {
  const life = token === undefined ? 0 : SESSION_LIFE_MS / 1_000;
  return [
    `${COOKIE}=${token ?? ''}`,
    'Path=/',
    `Max-Age=${life}`,
    'HttpOnly',
    'SameSite=Strict',
    ...(isSecure ? ['Secure'] : []),
  ].join('; ');
}
