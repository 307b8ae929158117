import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { SecretsKeys } from '../../src/ground/keys/secrets-keys.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { WebhookMessages } from '../../src/surfaces/webhooks/webhook-messages.store.ts';
import { WebhookSender } from '../../src/surfaces/webhooks/webhook-sender.ts';
import { Webhooks, newWebhookId, type Endpoint } from '../../src/surfaces/webhooks/webhook.store.ts';
import { until } from '../support/pipeline.ts';
import { Receiver } from '../support/receiver.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { wholeTest } from '../support/thorough.ts';

const DAY_MS = 86_400_000;

let server: TestRedis;
let redis: Redis;
let webhooks: Webhooks;
let messages: WebhookMessages;
let sender: WebhookSender;
beforeAll(async () => {
  server = await TestRedis.start();
  redis = server.client('api');
  const { keys } = server;
  webhooks = new Webhooks(redis, keys, new SecretsKeys(newKey()));
  messages = new WebhookMessages(redis, keys);
  const parts = { redis, keys, webhooks, messages, egress: { allowPrivate: true }, deadAfterMs: 5 * DAY_MS };
  sender = new WebhookSender({ ...parts, schedule: [0, 3_600] }, createLogger('test', 'error'));
  sender.start();
});
afterAll(async () => {
  await sender.stop();
  await server[Symbol.asyncDispose]();
});

const endpointAt = (tenant: string, url: string) =>
  webhooks.create(tenant, newWebhookId(), { url, events: [], format: 'standard', description: '' });

/** The endpoint has been there for a month, and has failed for six days: the next failure is its last. */
async function failing(tenant: string, endpoint: Endpoint, restsMs: number): Promise<void> {
  const [text, since] = [await redis.hget(server.keys.webhooks(tenant), endpoint.id), Date.now() - 6 * DAY_MS];
  const old = { ...(JSON.parse(text ?? '') as object), changedMs: Date.now() - 30 * DAY_MS };
  await redis.hset(server.keys.webhooks(tenant), endpoint.id, JSON.stringify(old));
  await redis.hset(server.keys.webhookHealth, `${tenant} ${endpoint.id}`, `9 ${since} ${Date.now() + restsMs}`);
}

const lossesTold = async (tenant: string) =>
  (await redis.xrange(server.keys.feed(tenant), '-', '+')).flatMap(([, [, type, , data]]) =>
    type === 'webhook.lost' ? [(JSON.parse(data ?? '') as { data: { lost: number } }).data.lost] : [],
  );

describe('an endpoint that its owner changes', () => {
  test.each([
    ['answers 410', 410],
    ['fails for the last time', 500],
  ] as const)('while its old address %s goes on at the new one', async (name, status) => {
    await using older = await Receiver.start();
    await using newer = await Receiver.start();
    const tenant = `moved-${status}`;
    const endpoint = await endpointAt(tenant, older.url);
    await failing(tenant, endpoint, 0);
    older.answer = async () => {
      await webhooks.change(tenant, endpoint.id, { url: newer.url });
      return { status };
    };
    const { id } = await messages.sendTest(tenant, endpoint);
    await until(async () => ((await messages.read(id))?.attempts ?? 0) > 0, 20_000);
    expect([name, (await webhooks.get(tenant, endpoint.id)).disabledBecause]).toEqual([name, null]);
    // What the old one did is not held against the new one, which fails for the first time.
    newer.answer = () => ({ status: 500 });
    for (const _ of [1, 2]) {
      const next = await messages.sendTest(tenant, endpoint);
      await until(async () => ((await messages.read(next.id))?.attempts ?? 0) > 0, 20_000);
    }
    expect(newer.messages).toHaveLength(2);
    expect([name, (await webhooks.get(tenant, endpoint.id)).disabledBecause]).toEqual([name, null]);
  });

  test('is not disabled by one failure more, whatever failed before, and is not left alone any longer', async () => {
    await using receiver = await Receiver.start();
    for (const how of ['another address', 'enabled again'] as const) {
      const tenant = `anew-${how.split(' ')[0] ?? ''}`;
      const endpoint = await endpointAt(tenant, how === 'another address' ? 'http://127.0.0.1:9/' : receiver.url);
      await failing(tenant, endpoint, 600_000);
      // What waits for it is not sent before it has rested.
      const waiting = await messages.sendTest(tenant, endpoint);
      await redis.zadd(server.keys.webhookMessages, Date.now() + 600_000, `${tenant} ${endpoint.id}`);
      receiver.answer = () => ({ status: 500 });
      if (how === 'another address') await webhooks.change(tenant, endpoint.id, { url: receiver.url });
      else {
        await webhooks.disable(tenant, await webhooks.get(tenant, endpoint.id), 'it was dead');
        await webhooks.change(tenant, endpoint.id, { disabled: false });
      }
      await until(async () => (await messages.read(waiting.id))?.attempts === 1, 20_000);
      expect([how, (await webhooks.get(tenant, endpoint.id)).disabledBecause]).toEqual([how, null]);
    }
  });
});

test('messages that waited for longer than they are kept are counted as lost, and told', async () => {
  await using receiver = await Receiver.start();
  const endpoint = await endpointAt('late', receiver.url);
  await redis.zadd(server.keys.webhookMessages, Date.now() + 600_000, `late ${endpoint.id}`);
  const queue = server.keys.webhookQueue('late', endpoint.id);
  // As if they had been sent there and no courier had run for eight days.
  for (let at = 0; at < 5; at += 1) await redis.zadd(queue, 1, `msg_${at.toString(16).padStart(32, '0')}`);
  await redis.hset(server.keys.webhookWaiting, 'late', 5);
  await redis.zadd(server.keys.webhookMessages, 1, `late ${endpoint.id}`);
  await until(async () => (await redis.zcard(queue)) === 0, 20_000);
  expect(await messages.lost('late', [endpoint.id])).toEqual([5]);
  expect(await lossesTold('late')).toEqual([1, 2, 4]);
  expect(await redis.hget(server.keys.webhookWaiting, 'late')).toBeNull();
  expect(receiver.messages).toEqual([]);
});

wholeTest('a message is sent while receivers of twenty other tenants let all places wait for an answer', async () => {
  await using silent = await Receiver.start();
  await using lively = await Receiver.start();
  silent.answer = () => 'hang';
  const waiting = await Promise.all(
    Array.from({ length: 20 }, async (_, at) => {
      const endpoint = await endpointAt(`silent-${at}`, silent.url);
      return Promise.all(Array.from({ length: 8 }, () => messages.sendTest(`silent-${at}`, endpoint)));
    }),
  );
  await until(() => silent.messages.length >= 128);
  await messages.sendTest('lively', await endpointAt('lively', lively.url));
  await until(() => lively.messages.length === 1);
  const attempts = await Promise.all(waiting.flat().map(async ({ id }) => (await messages.read(id))?.attempts));
  expect(attempts).toEqual(attempts.map(() => 0));
});
