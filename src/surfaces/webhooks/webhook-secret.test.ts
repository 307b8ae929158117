import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { SigningKey, publicKeyFromBase64, verifyBytes } from '../../ground/keys/signing-key.ts';
import { newSealedSecret, openSecret, resealed } from './webhook-secret.ts';

const [OLD, NEW] = [new SigningKey(Buffer.alloc(32, 1)), new SigningKey(Buffer.alloc(32, 2))];
const KEYS = new SecretsKeys(OLD);
const PLACE = { tenant: 'acme', endpoint: 'wh_a', generation: 1 };

describe('secrets of a webhook endpoint', () => {
  test('are random, and are read at their own place alone', () => {
    const sealed = newSealedSecret(KEYS, PLACE);
    expect(openSecret(KEYS, PLACE, sealed).symmetric).toBe(openSecret(KEYS, PLACE, sealed).symmetric);
    expect(openSecret(KEYS, PLACE, sealed).symmetric).not.toBe(
      openSecret(KEYS, PLACE, newSealedSecret(KEYS, PLACE)).symmetric,
    );
    for (const other of [{ tenant: 'other' }, { endpoint: 'wh_b' }, { generation: 2 }])
      expect(() => openSecret(KEYS, { ...PLACE, ...other }, sealed)).toThrow('moved from another place');
  });

  test('stay the same when another key seals them', () => {
    const sealed = newSealedSecret(KEYS, PLACE);
    const again = resealed(new SecretsKeys(NEW, OLD), PLACE, sealed);
    expect(again).not.toBe(sealed);
    expect(openSecret(new SecretsKeys(NEW), PLACE, again).symmetric).toBe(openSecret(KEYS, PLACE, sealed).symmetric);
    expect(resealed(new SecretsKeys(NEW), PLACE, again)).toBe(again);
  });

  test('sign what Standard Webhooks says: id, time and body, by HMAC-SHA256 and by Ed25519', () => {
    const secret = openSecret(KEYS, PLACE, newSealedSecret(KEYS, PLACE));
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
