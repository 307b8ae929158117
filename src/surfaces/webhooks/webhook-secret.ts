import { createHmac } from 'node:crypto';
import { SigningKey } from '../../ground/keys/signing-key.ts';

/**
 * The secrets of an endpoint are derived from the API's key, the endpoint's id and the number of its rotation: they are the
 * same for whoever holds that key, and stand nowhere.
 */
export interface WebhookSecret {
  /** `whsec_` and base64: for HMAC-SHA256 (v1). */
  readonly symmetric: string;
  /** `whpk_` and base64: the Ed25519 key that verifies v1a. */
  readonly publicKey: string;
  sign(id: string, timestampS: number, body: string): string;
}

export function webhookSecret(apiKey: SigningKey, endpoint: string, generation: number): WebhookSecret {
  const derive = (purpose: string) => apiKey.derive(`countersign/webhook/${purpose}/${endpoint}/${generation}`);
  const shared = derive('v1');
  const own = new SigningKey(derive('v1a'));
  return {
    symmetric: `whsec_${shared.toString('base64')}`,
    publicKey: `whpk_${own.public.raw}`,
    /** Both signatures of Standard Webhooks 1.0.0, over `id.timestamp.body`. */
    sign(id, timestampS, body) {
      const content = Buffer.from(`${id}.${timestampS}.${body}`);
      const hmac = createHmac('sha256', shared).update(content).digest('base64');
      return `v1,${hmac} v1a,${own.sign(content).toString('base64')}`;
    },
  };
}
