import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { SecretsKeys } from '../../src/ground/keys/secrets-keys.ts';
import { Webhooks, newWebhookId } from '../../src/surfaces/webhooks/webhook.store.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';

const WANTED = { url: 'https://example.com/', events: [], format: 'standard', description: '' } as const;
const MESSAGE = { id: 'msg_1', timestampS: Math.floor(Date.now() / 1_000), body: '{}' };

describe('the secrets of webhooks', () => {
  const [first, second] = [newKey(), newKey()];
  let server: TestRedis;
  let redis: Redis;
  let webhooks: Webhooks;
  const under = (keys: SecretsKeys) => new Webhooks(redis, server.keys, keys);
  beforeAll(async () => {
    server = await TestRedis.start();
    redis = server.client();
    webhooks = under(new SecretsKeys(first));
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('lie sealed: neither secret stands in Redis, in text or in bytes', async () => {
    const endpoint = await webhooks.create('sealed', newWebhookId(), { ...WANTED, events: [] });
    const { symmetric } = webhooks.secretOf('sealed', endpoint.id, endpoint);
    const bytes = Buffer.from(symmetric.replace('whsec_', ''), 'base64');
    const stored = Object.values(await redis.hgetall(server.keys.webhooks('sealed'))).join();
    for (const form of ['base64', 'base64url', 'hex', 'latin1'] as const)
      expect(stored.includes(bytes.toString(form))).toBe(false);
    const { sealed } = endpoint;
    expect(Buffer.from(sealed.slice(sealed.indexOf('.') + 1), 'base64url').includes(bytes)).toBe(false);
  });

  test('for the addresses of jobs are made once, though many ask at the same time', async () => {
    const found = await Promise.all(Array.from({ length: 20 }, () => webhooks.jobSecrets('many')));
    expect(new Set(found.map(({ sealed }) => sealed)).size).toBe(1);
  });

  test('stay the same through a change of the key, and then need the new key alone', async () => {
    const endpoint = await webhooks.create('moved', newWebhookId(), { ...WANTED, events: [] });
    await webhooks.jobSecrets('moved');
    const rotated = await webhooks.rotate('moved', endpoint.id, 3_600_000);
    const before = await webhooks.signatures('moved', rotated, MESSAGE);
    expect(before.split(' ')).toHaveLength(4);

    const both = under(new SecretsKeys(second, first));
    expect(await both.reseal('moved')).toBe(2);
    expect(await both.reseal('moved')).toBe(0);
    const after = under(new SecretsKeys(second));
    const now = await after.get('moved', endpoint.id);
    expect(await after.signatures('moved', now, MESSAGE)).toBe(before);
    expect(now).toEqual({ ...rotated, sealed: now.sealed, previous: now.previous });
    expect(() => webhooks.secretOf('moved', endpoint.id, now)).toThrow('not known here');
    await expect(under(new SecretsKeys(newKey())).reseal('moved')).rejects.toThrow('not known here');
  });

  test("of one tenant are worth nothing at another's endpoint", async () => {
    const endpoint = await webhooks.create('owner', newWebhookId(), { ...WANTED, events: [] });
    expect(() => webhooks.secretOf('thief', endpoint.id, endpoint)).toThrow('moved from another place');
  });
});
