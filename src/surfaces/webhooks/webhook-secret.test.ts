import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { SigningKey, publicKeyFromBase64, verifyBytes } from '../../ground/keys/signing-key.ts';
import { webhookSecret } from './webhook-secret.ts';

const KEY = new SigningKey(Buffer.alloc(32, 1));

describe('secrets of a webhook endpoint', () => {
  test("are the same for every holder of the API's key, and another for each endpoint, rotation and key", () => {
    const first = webhookSecret(KEY, 'wh_a', 1);
    expect(webhookSecret(new SigningKey(Buffer.alloc(32, 1)), 'wh_a', 1)).toMatchObject({
      symmetric: first.symmetric,
      publicKey: first.publicKey,
    });
    const all = [
      first,
      webhookSecret(KEY, 'wh_a', 2),
      webhookSecret(KEY, 'wh_b', 1),
      webhookSecret(new SigningKey(Buffer.alloc(32, 2)), 'wh_a', 1),
    ];
    expect(new Set(all.flatMap(({ symmetric, publicKey }) => [symmetric, publicKey])).size).toBe(8);
  });

  test('sign what Standard Webhooks says: id, time and body, by HMAC-SHA256 and by Ed25519', () => {
    const secret = webhookSecret(KEY, 'wh_a', 1);
    const [v1 = '', v1a = ''] = secret.sign('msg_1', 1_790_000_000, '{"a":1}').split(' ');
    const content = Buffer.from('msg_1.1790000000.{"a":1}');
    const shared = Buffer.from(secret.symmetric.replace('whsec_', ''), 'base64');
    expect(v1).toBe(`v1,${createHmac('sha256', shared).update(content).digest('base64')}`);
    const key = publicKeyFromBase64(secret.publicKey.replace('whpk_', ''));
    const signature = Buffer.from(v1a.replace('v1a,', ''), 'base64');
    expect(verifyBytes(key, content, signature)).toBe(true);
    expect(verifyBytes(key, Buffer.from('msg_2.1790000000.{"a":1}'), signature)).toBe(false);
  });
});
