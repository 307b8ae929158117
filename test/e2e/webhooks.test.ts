import { createPublicKey, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EventSource } from 'eventsource';
import { Webhook } from 'standardwebhooks';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';
import { Receiver, type Message } from '../support/receiver.ts';
import { longTest, wholeTest } from '../support/thorough.ts';

interface Endpoint {
  id: string;
  disabled_because: string | null;
  public_key: string;
  secret: string;
}
interface WebhookMessage {
  id: string;
  status: string;
  attempts: number;
  answered: number | null;
  problem: string | null;
  type: string;
}

const ENV = { COUNTERSIGN_WEBHOOK_PRIVATE: 'allow' };
const SCHEDULE = { COUNTERSIGN_WEBHOOK_SCHEDULE: '0,0.3,0.3,0.3' };

let pipeline: Pipeline;
let client: Client;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL, { ...NOOP_MODEL, name: 'sulky' }]);
  await Promise.all([
    pipeline.api(ENV),
    pipeline.worker(1),
    pipeline.attestor(),
    pipeline.courier({ ...ENV, ...SCHEDULE }),
  ]);
  client = await pipeline.client();
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const send = async <T>(path: string, method: string, body?: unknown, as = client): Promise<T> => {
  const response = await as.fetch(path, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as T;
};
const endpointFor = (receiver: Receiver, more: object = {}, as = client) =>
  send<Endpoint>('/v1/webhooks', 'POST', { url: receiver.url, ...more }, as);
const secretOf = async (id: string) => (await send<{ secret: string }>(`/v1/webhooks/${id}/secret`, 'GET')).secret;
const deliveries = async (id: string) =>
  (await send<{ deliveries: WebhookMessage[] }>(`/v1/webhooks/${id}/deliveries`, 'GET')).deliveries;

function verifyAsymmetric(message: Message, publicKey: string): boolean {
  const der = Buffer.concat([
    Buffer.from('302a300506032b6570032100', 'hex'),
    Buffer.from(publicKey.slice('whpk_'.length), 'base64'),
  ]);
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signatures } = message.headers;
  const content = Buffer.from(`${String(id)}.${String(at)}.${message.body}`);
  return String(signatures)
    .split(' ')
    .some((one) => one.startsWith('v1a,') && verify(null, content, key, Buffer.from(one.slice(4), 'base64')));
}

const headersOf = (message: Message) => message.headers as Record<string, string>;

describe('webhooks', () => {
  test('every state is told in its order, signed so that the reference library accepts it, and never before it is true', async () => {
    await using receiver = await Receiver.start();
    const endpoint = await endpointFor(receiver);
    const wrong: string[] = [];
    receiver.answer = (message) => {
      void client.job(message.data.job).then(({ state }) => {
        if (message.data.state === 'done' && state !== 'done') wrong.push(message.data.job);
      });
      return { status: 200 };
    };
    const job = await client.run(completion('told'));
    await until(() => receiver.of(job.id).length === 4);
    // Messages of one endpoint are sent side by side; their order is in the feed.
    expect(
      receiver
        .of(job.id)
        .map(({ type }) => type)
        .toSorted(),
    ).toEqual(['job.attesting', 'job.done', 'job.queued', 'job.running']);
    const hook = new Webhook(await secretOf(endpoint.id));
    for (const message of receiver.of(job.id)) {
      expect(hook.verify(message.body, headersOf(message))).toMatchObject({ data: { job: job.id } });
      expect(verifyAsymmetric(message, endpoint.public_key)).toBe(true);
      expect(() => hook.verify(`${message.body} `, headersOf(message))).toThrow();
    }
    expect(new Set(receiver.of(job.id).map(({ headers }) => headers['webhook-id'])).size).toBe(4);
    // The message of a done job says how it was confirmed, as its document does.
    const { confirmed_by, not_checked } = await client.job(job.id);
    expect(confirmed_by).toContain('binding');
    const told = receiver.of(job.id).find(({ type }) => type === 'job.done');
    expect(JSON.parse(told?.body ?? '{}')).toMatchObject({ data: { confirmed_by, not_checked } });
    expect(wrong).toEqual([]);
    await send(`/v1/webhooks/${endpoint.id}`, 'DELETE');
  });

  test('an address given with a job hears of its end, under the secret of the tenant', async () => {
    await using receiver = await Receiver.start();
    const job = await client.run(completion('own', { webhook: { url: receiver.url } }));
    await until(() => receiver.of(job.id).length > 0);
    expect(receiver.of(job.id).map(({ type }) => type)).toEqual(['job.done']);
    const { secret } = await send<{ secret: string }>('/v1/webhooks/default/secret', 'GET');
    const [message] = receiver.messages;
    if (message) new Webhook(secret).verify(message.body, headersOf(message));
    const unwanted = await client.submit(
      completion('cancelled', {
        model: 'by-hand',
        webhook: { url: receiver.url, events: ['job.queued', 'job.cancelled'] },
      }),
    );
    await until(() => receiver.of(unwanted.id).length === 1);
    await client.post(`/v1/jobs/${unwanted.id}/cancel`, undefined);
    await until(() => receiver.of(unwanted.id).length === 2);
    expect(receiver.of(unwanted.id).map(({ type }) => type)).toEqual(['job.queued', 'job.cancelled']);
  });

  wholeTest(
    'an address given with a job is told its end though nobody else listens any more, under a secret that rotates',
    async () => {
      await using receiver = await Receiver.start();
      const quiet = await pipeline.client('quiet');
      const { keys } = pipeline.redis;
      const own = { model: 'by-hand', webhook: { url: receiver.url } };
      const job = await quiet.submit(completion('late', own));
      // As if a day had gone by.
      await pipeline.redis.client().hdel(keys.listeners, 'quiet');
      const secretOfJobs = async () =>
        (await send<{ secret: string }>('/v1/webhooks/default/secret', 'GET', undefined, quiet)).secret;
      const before = await secretOfJobs();
      const rotate = () =>
        send<{ secret: string }>('/v1/webhooks/default/rotate', 'POST', { overlap_seconds: 60 }, quiet);
      const rotated = [await rotate(), await rotate()];
      await quiet.post(`/v1/jobs/${job.id}/cancel`, undefined);
      const [message] = await until(() => receiver.of(job.id).length > 0 && receiver.of(job.id));
      if (message === undefined) throw new Error('no message');
      expect(message.type).toBe('job.cancelled');
      for (const secret of [before, ...rotated.map((one) => one.secret)])
        new Webhook(secret).verify(message.body, headersOf(message));
      expect(await secretOfJobs()).toBe(rotated[1]?.secret);
    },
  );

  wholeTest(
    'of changes at the same time none is lost: as many secrets as rotations, and never one endpoint too many',
    async () => {
      const many = await pipeline.client('many');
      const made = await Promise.all(
        Array.from({ length: 30 }, (_, at) => many.post('/v1/webhooks', { url: `http://127.0.0.1:9/${at}` })),
      );
      expect(made.map(({ status }) => status).filter((status) => status === 201)).toHaveLength(20);
      const { webhooks } = await send<{ webhooks: Endpoint[] }>('/v1/webhooks', 'GET', undefined, many);
      expect(webhooks).toHaveLength(20);
      const id = webhooks[0]?.id ?? '';
      const secrets = await Promise.all(
        Array.from({ length: 20 }, () =>
          send<Endpoint>(`/v1/webhooks/${id}/rotate`, 'POST', { overlap_seconds: 0 }, many),
        ),
      );
      expect(new Set(secrets.map(({ secret }) => secret)).size).toBe(20);
      // What overlaps is bounded, and never taken back.
      const overlapping = await Promise.all(
        Array.from({ length: 8 }, () => many.post(`/v1/webhooks/${id}/rotate`, { overlap_seconds: 60 })),
      );
      expect(overlapping.filter(({ ok }) => ok)).toHaveLength(5);
    },
  );

  wholeTest(
    'what is disabled or dead gets nothing more, and its owner is told; what nobody takes holds up no other',
    async () => {
      await using receiver = await Receiver.start();
      const owner = await pipeline.client('owner');
      receiver.answer = () => ({ status: 500 });
      const endpoint = await endpointFor(receiver, { events: ['job.done'] }, owner);
      const { keys } = pipeline.redis;
      // Six days of failures: the next one is the last.
      const since = Date.now() - 6 * 86_400_000;
      const redis = pipeline.redis.client();
      await redis.hset(keys.webhookHealth, `owner ${endpoint.id}`, `9 ${since} ${since}`);
      const stored = JSON.parse((await redis.hget(keys.webhooks('owner'), endpoint.id)) ?? '') as object;
      await redis.hset(keys.webhooks('owner'), endpoint.id, JSON.stringify({ ...stored, changedMs: since }));
      const job = await owner.run(completion('dead'));
      await until(() => receiver.of(job.id).length > 0);
      const disabled = await until(async () => {
        const found = await send<Endpoint>(`/v1/webhooks/${endpoint.id}`, 'GET', undefined, owner);
        return found.disabled_because !== null && found;
      });
      expect(disabled.disabled_because).toContain('it has taken nothing since');
      const feed = await pipeline.redis.client().xrange(keys.feed('owner'), '-', '+');
      expect(feed.filter(([, cells]) => cells[1] === 'webhook.disabled')).toHaveLength(1);
      const { deliveries: log } = await until(async () => {
        const found = await send<{ deliveries: WebhookMessage[] }>(
          `/v1/webhooks/${endpoint.id}/deliveries`,
          'GET',
          undefined,
          owner,
        );
        return found.deliveries.every(({ status }) => status === 'failed') && found;
      });
      expect(log.map(({ problem, attempts }) => [problem, attempts])).toEqual([['The endpoint is disabled.', 1]]);
      expect(receiver.of(job.id)).toHaveLength(1);
    },
  );

  test('what fails is tried again under the same id until the schedule ends; redirects count as failures; a redelivery works', async () => {
    await using receiver = await Receiver.start();
    const endpoint = await endpointFor(receiver, { events: ['job.done'] });
    const elsewhere = { status: 302, headers: { location: receiver.url } };
    const flakyAnswers: { status: number; headers?: Record<string, string> }[] = [{ status: 500 }, elsewhere];
    receiver.answer = ({ data }) =>
      data.model === 'sulky' ? { status: 503 } : (flakyAnswers.shift() ?? { status: 200 });
    const flaky = await client.submit(completion('flaky'));
    const never = await client.submit(completion('never', { model: 'sulky' }));
    await until(() => receiver.of(flaky.id).length === 3 && receiver.of(never.id).length === 4);
    for (const id of [flaky.id, never.id])
      expect(new Set(receiver.of(id).map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    const log = await until(async () => {
      const all = await deliveries(endpoint.id);
      return all.every(({ status }) => status !== 'pending') && all;
    });
    const of = (job: string) =>
      log.find(({ id }) => id === receiver.of(job)[0]?.headers['webhook-id']) ?? { id: '', status: '' };
    expect(of(flaky.id)).toMatchObject({ status: 'delivered', attempts: 3, answered: 200 });
    expect(of(never.id)).toMatchObject({ status: 'failed', attempts: 4, answered: 503, problem: 'It answered 503.' });
    await send(`/v1/deliveries/${of(never.id).id}/redeliver`, 'POST');
    await until(() => receiver.of(never.id).length === 5);
    expect(receiver.of(never.id).at(-1)?.headers['webhook-id']).toBe(of(never.id).id);
    await send(`/v1/webhooks/${endpoint.id}`, 'DELETE');
  });

  wholeTest(
    '410 disables the endpoint; Retry-After is honoured; a rotated secret overlaps; a test message comes at once',
    async () => {
      await using receiver = await Receiver.start();
      const endpoint = await endpointFor(receiver, { events: ['job.done'], format: 'cloudevents' });
      const before = await secretOf(endpoint.id);
      const rotated = await send<Endpoint>(`/v1/webhooks/${endpoint.id}/rotate`, 'POST', { overlap_seconds: 60 });
      expect(rotated.secret).not.toBe(before);
      await send(`/v1/webhooks/${endpoint.id}/test`, 'POST');
      const [first] = await until(() => receiver.messages.length > 0 && receiver.messages);
      if (first === undefined) throw new Error('no message');
      for (const secret of [before, rotated.secret]) new Webhook(secret).verify(first.body, headersOf(first));
      expect(first.headers).toMatchObject({
        'ce-specversion': '1.0',
        'ce-type': 'countersign.webhook.test',
        'ce-id': first.headers['webhook-id'],
      });
      receiver.answer = (_, number) => ({ status: number === 2 ? 429 : 410, headers: { 'retry-after': '2' } });
      await client.run(completion('gone'));
      await until(() => receiver.messages.length === 3);
      const [, second, third] = receiver.messages;
      const at = (message: Message | undefined) => Number(message?.headers['webhook-timestamp']);
      expect(at(third) - at(second)).toBeGreaterThanOrEqual(2);
      await until(
        async () =>
          (await send<Endpoint>(`/v1/webhooks/${endpoint.id}`, 'GET')).disabled_because === 'it answered 410 Gone',
      );
      receiver.answer = () => ({ status: 200 });
      await client.run(completion('nobody'));
      const other = await endpointFor(receiver, { events: ['job.done'] });
      const last = await client.run(completion('other'));
      await until(() => receiver.of(last.id).length > 0);
      expect((await deliveries(endpoint.id)).map(({ type, attempts }) => [type, attempts])).toEqual([
        ['job.done', 2],
        ['webhook.test', 1],
      ]);
      await send(`/v1/webhooks/${other.id}`, 'DELETE');
      await send(`/v1/webhooks/${endpoint.id}`, 'DELETE');
    },
  );

  longTest('couriers die again and again, and each job is still told done, under one id', async () => {
    await using receiver = await Receiver.start();
    const endpoint = await endpointFor(receiver, { events: ['job.done'] });
    await pipeline.kill('courier');
    const jobs: string[] = [];
    for (const point of [
      'before-job-ends:1',
      'after-job-ends:1',
      'after-send:3',
      'after-send:10',
      'before-job-ends:2',
    ]) {
      const role = await pipeline.courier({ ...ENV, ...SCHEDULE, COUNTERSIGN_CRASH_AT: `courier.${point}` });
      expect(await client.keepBusy(role, 4, point, jobs)).toBe('SIGKILL');
    }
    await pipeline.courier({ ...ENV, ...SCHEDULE });
    await until(() => jobs.every((id) => receiver.of(id).length > 0));
    for (const id of jobs) expect(new Set(receiver.of(id).map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    // Some crashes came between the sending and the writing down: then it is sent once more, as it must be.
    await until(() => receiver.messages.length > jobs.length);
    await send(`/v1/webhooks/${endpoint.id}`, 'DELETE');
  });

  test('a standard client of event streams reads all events of the tenant, and after a break goes on where it was', async () => {
    const seen: { id: string; type: string; job: string }[] = [];
    const listen = (lastEventId?: string) => {
      const source = new EventSource(`${pipeline.url}/v1/events`, {
        fetch: (input, init) =>
          fetch(input, {
            ...init,
            headers: {
              ...init.headers,
              authorization: `Bearer ${client.key}`,
              ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
            },
          }),
      });
      for (const state of ['queued', 'running', 'attesting', 'done'])
        source.addEventListener(`job.${state}`, (event) => {
          const { data } = JSON.parse(String(event.data)) as { data: { job: string } };
          seen.push({ id: event.lastEventId, type: event.type, job: data.job });
        });
      return new Promise<EventSource>((resolve) => source.addEventListener('open', () => resolve(source)));
    };
    const first = await listen();
    const a = await client.run(completion('a'));
    await until(() => seen.some(({ type }) => type === 'job.done'));
    first.close();
    const b = await client.run(completion('b'));
    const second = await listen(seen.at(-1)?.id);
    await until(() => seen.filter(({ type }) => type === 'job.done').length === 2);
    second.close();
    for (const job of [a.id, b.id])
      expect(seen.filter((event) => event.job === job).map(({ type }) => type)).toEqual([
        'job.queued',
        'job.running',
        'job.attesting',
        'job.done',
      ]);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
  });

  test('another tenant hears nothing, and cannot see or change an endpoint or a message', async () => {
    await using receiver = await Receiver.start();
    const stranger = await pipeline.client('stranger');
    const endpoint = await endpointFor(receiver, {}, stranger);
    await client.run(completion('not theirs'));
    const own = await stranger.run(completion('theirs'));
    await until(() => receiver.of(own.id).length === 4);
    expect(receiver.messages.every(({ data }) => data.job === own.id)).toBe(true);
    const message = String(receiver.messages[0]?.headers['webhook-id']);
    for (const [method, path] of [
      ['GET', `/v1/webhooks/${endpoint.id}`],
      ['GET', `/v1/webhooks/${endpoint.id}/secret`],
      ['GET', `/v1/webhooks/${endpoint.id}/deliveries`],
      ['DELETE', `/v1/webhooks/${endpoint.id}`],
      ['POST', `/v1/webhooks/${endpoint.id}/rotate`],
      ['POST', `/v1/webhooks/${endpoint.id}/test`],
      ['POST', `/v1/deliveries/${message}/redeliver`],
    ] as const)
      expect((await client.fetch(path, { method })).status).toBe(404);
  });
});
