import 'reflect-metadata';
import { X509Certificate, createHash, webcrypto } from 'node:crypto';
import { X509Certificate as ParsedCertificate, X509Crl } from '@peculiar/x509';
import { TeeRefused } from './tee-refused.ts';

const MAX_CERTIFICATES = 10;
const MAX_CHAIN_BYTES = 65_536;

/** The certificates of a PEM text, in its order. Throws TeeRefused. */
export function certificatesOfPem(pem: string): X509Certificate[] {
  if (pem.length > MAX_CHAIN_BYTES) throw new TeeRefused('TEE_MALFORMED', 'The certificate chain is too long.');
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES)
    throw new TeeRefused('TEE_MALFORMED', `The certificate chain has ${blocks.length} certificates.`);
  return blocks.map(parseCertificate);
}

/** Throws TeeRefused where the bytes are no certificate. */
export function parseCertificate(bytes: string | Uint8Array): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw new TeeRefused('TEE_MALFORMED', 'A certificate cannot be parsed.', { cause });
  }
}

export function certificateSha256(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex');
}

/**
 * Requires that each certificate, the leaf first, is signed by the next, that all were valid at `atMs`, and
 * that the last is self-signed and one of the pinned roots (SHA-256 of the DER). Throws TeeRefused.
 */
export function requireChain(chain: readonly X509Certificate[], roots: readonly string[], atMs: number): void {
  if (!Number.isSafeInteger(atMs) || atMs < 0) throw new TeeRefused('TEE_NOT_FRESH', 'The time is not a time.');
  chain.forEach((certificate, index) => {
    const issuer = chain[index + 1] ?? certificate;
    if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey))
      throw new TeeRefused(
        'TEE_CHAIN_UNTRUSTED',
        `The certificate of ${nameOf(certificate)} is not signed by ${nameOf(issuer)}.`,
      );
    if (index > 0 && !certificate.ca)
      throw new TeeRefused('TEE_CHAIN_UNTRUSTED', `${nameOf(certificate)} is no certificate authority.`);
    if (atMs < Date.parse(certificate.validFrom) || atMs > Date.parse(certificate.validTo))
      throw new TeeRefused(
        'TEE_CERTIFICATE_EXPIRED',
        `The certificate of ${nameOf(certificate)} was not valid at ${new Date(atMs).toISOString()}.`,
      );
  });
  const root = chain.at(-1);
  if (root === undefined || !roots.includes(certificateSha256(root)))
    throw new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The chain does not end at a pinned root.');
}

function nameOf(certificate: X509Certificate): string {
  return /CN=([^\n]{1,64})/.exec(certificate.subject)?.[1] ?? 'a certificate';
}

/** The value of an extension, or undefined where there is none. */
export function extensionOf(certificate: X509Certificate, oid: string): Buffer | undefined {
  const extension = new ParsedCertificate(certificate.raw).getExtension(oid);
  return extension === null ? undefined : Buffer.from(extension.value);
}

/**
 * Requires a revocation list that this issuer signed, that was in force at `atMs`, and that does not name any
 * of the certificates. Throws TeeRefused.
 */
export async function requireNotRevoked(
  crl: Uint8Array,
  issuer: X509Certificate,
  certificates: readonly X509Certificate[],
  atMs: number,
): Promise<void> {
  let list: X509Crl;
  try {
    list = new X509Crl(Buffer.from(crl));
  } catch (cause) {
    throw new TeeRefused('TEE_COLLATERAL_INVALID', 'A revocation list cannot be parsed.', { cause });
  }
  const parsedIssuer = new ParsedCertificate(issuer.raw);
  const signed = await list
    .verify({ publicKey: parsedIssuer }, webcrypto as Parameters<X509Crl['verify']>[1])
    .catch(() => false);
  if (list.issuer !== parsedIssuer.subject || !signed)
    throw new TeeRefused('TEE_COLLATERAL_INVALID', `A revocation list is not signed by ${nameOf(issuer)}.`);
  if (atMs < list.thisUpdate.getTime() || list.nextUpdate === undefined || atMs > list.nextUpdate.getTime())
    throw new TeeRefused(
      'TEE_COLLATERAL_INVALID',
      `The revocation list of ${nameOf(issuer)} was not in force at ${new Date(atMs).toISOString()}.`,
    );
  for (const certificate of certificates)
    if (list.findRevoked(new ParsedCertificate(certificate.raw)) !== null)
      throw new TeeRefused('TEE_REVOKED', `The certificate of ${nameOf(certificate)} is revoked.`);
}
