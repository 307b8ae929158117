import { canonicalJson } from '../../ground/json/canonical-json.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { signPayload, verifyPayload } from '../receipts/dsse.ts';
import type { Keyring } from '../receipts/keyring.ts';
import {
  BUNDLE_FORMAT,
  MANIFEST_TYPE,
  type BundleContent,
  type BundleManifest,
  type ManifestLine,
} from './bundle-format.ts';
import { BundleRefused } from './bundle-tally.ts';

/** Who wrote a bundle, for whom and when. */
export interface BundleSeal {
  readonly createdAt: string;
  readonly instance: string | null;
  readonly owner: string | null;
  /** The key of the instance's API; without one the bundle is not signed. */
  readonly key: SigningKey | undefined;
}

/** The last line of a bundle, without its line end. */
export function sealBundle(content: BundleContent, { createdAt, instance, owner, key }: BundleSeal): string {
  const manifest: BundleManifest = { format: BUNDLE_FORMAT, created_at: createdAt, instance, owner, ...content };
  const line: ManifestLine = { manifest, signature: key === undefined ? null : signatureOf(manifest, key) };
  return canonicalJson(line);
}

function signatureOf(manifest: BundleManifest, key: SigningKey): ManifestLine['signature'] {
  const { keyId, signature } = signPayload(key, Buffer.from(canonicalJson(manifest)), MANIFEST_TYPE);
  return { key: keyId, sig: signature.toString('base64') };
}

/** Whose signature a bundle bears, as far as a keyring tells. */
export type BundleSigner = { readonly key: string } | { readonly none: string };

/**
 * The key that signed a manifest, where the keyring trusts it as the API of an instance at that time, or why
 * nobody can tell. Throws BundleRefused where the signature is not that of the key it names.
 */
export function signerOf({ manifest, signature }: ManifestLine, keyring: Keyring | undefined): BundleSigner {
  if (signature === null) return { none: 'the bundle is not signed' };
  if (keyring === undefined) return { none: 'no keyring was given to check the signature by' };
  const key = keyring.find('api', signature.key, Date.parse(manifest.created_at));
  if ('refused' in key) return { none: key.refused };
  const bytes = Buffer.from(signature.sig, 'base64');
  const payload = Buffer.from(canonicalJson(manifest));
  if (!verifyPayload(key, { keyId: signature.key, signature: bytes, payload }, MANIFEST_TYPE))
    throw new BundleRefused('The signature of the manifest is not that of the key which it names.');
  return { key: key.id };
}
