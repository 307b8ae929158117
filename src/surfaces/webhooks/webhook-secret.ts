import { createHmac } from 'node:crypto';
import { SigningKey } from '../../ground/keys/signing-key.ts';

/**
 * The secrets of an endpoint. They are derived from the API's signing key, the endpoint's id and the number
 * of its rotation, so every holder of that key derives the same ones, and none is stored.
 */
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

/** The secrets of an endpoint after so many rotations; `generation` counts from 1. */
export function webhookSecret(apiKey: SigningKey, endpoint: string, generation: number): WebhookSecret {
  const derive = (purpose: string) => apiKey.derive(`countersign/webhook/${purpose}/${endpoint}/${generation}`);
  const shared = derive('v1');
  const own = new SigningKey(derive('v1a'));
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

/**
 * The value of `webhook-signature` for a message: by the secret in force, and by those before it that sign
 * too.
 */
export function signaturesOf(
  apiKey: SigningKey,
  endpoint: string,
  { generation, previous }: SigningSecrets,
  message: { readonly id: string; readonly timestampS: number; readonly body: string },
): string {
  const still = previous.filter(({ untilMs }) => untilMs > message.timestampS * 1_000);
  return [generation, ...still.map((one) => one.generation)]
    .map((one) => webhookSecret(apiKey, endpoint, one).sign(message.id, message.timestampS, message.body))
    .join(' ');
}

interface SigningSecrets {
  readonly generation: number;
  readonly previous: readonly { readonly generation: number; readonly untilMs: number }[];
}
