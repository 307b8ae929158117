import { createHmac } from 'node:crypto';
import { freshRandom } from '../../ground/keys/random.ts';
import type { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { SigningKey } from '../../ground/keys/signing-key.ts';

const KEY_BYTES = 32;

/** The secrets that sign the messages to one address. */
export interface WebhookSecret {
  /** `whsec_` and Base64: the key of HMAC-SHA256 (v1). */
  readonly symmetric: string;
  /** `whpk_` and Base64: the Ed25519 key that verifies v1a. */
  readonly publicKey: string;
  /**
   * The value of `webhook-signature`: both signatures of Standard Webhooks 1.0.0, over `id.timestamp.body`.
   */
  sign(id: string, timestampS: number, body: string): string;
}

/** Whose secret it is: a sealed one is worth nothing at another endpoint or after another rotation. */
export interface SecretPlace {
  readonly tenant: string;
  readonly endpoint: string;
  /** Number of the secret, from 1. */
  readonly generation: number;
}

/** New secrets, 64 random bytes, as they are stored: sealed for this place. */
export function newSealedSecret(keys: SecretsKeys, place: SecretPlace): string {
  return keys.seal(nameOf(place), freshRandom(2 * KEY_BYTES));
}

/** The same secrets, sealed by the key that seals now. Throws CodedError `key_file_unfit`. */
export function resealed(keys: SecretsKeys, place: SecretPlace, sealed: string): string {
  return keys.isCurrent(sealed) ? sealed : keys.seal(nameOf(place), keys.open(nameOf(place), sealed));
}

/** The secrets that were sealed for this place. Throws CodedError `key_file_unfit`. */
export function openSecret(keys: SecretsKeys, place: SecretPlace, sealed: string): WebhookSecret {
  const bytes = keys.open(nameOf(place), sealed);
  const shared = bytes.subarray(0, KEY_BYTES);
  const own = new SigningKey(bytes.subarray(KEY_BYTES));
  return {
    symmetric: `whsec_${shared.toString('base64')}`,
    publicKey: `whpk_${own.public.raw}`,
    sign(id, timestampS, body) {
      const content = Buffer.from(`${id}.${timestampS}.${body}`);
      const hmac = createHmac('sha256', shared).update(content).digest('base64');
      return `v1,${hmac} v1a,${own.sign(content).toString('base64')}`;
    },
  };
}

function nameOf({ tenant, endpoint, generation }: SecretPlace): string {
  return `webhook/${tenant}/${endpoint}/${generation}`;
}
