import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { type WebhookEvent } from './webhook-event.ts';
import { newSealedSecret, openSecret, resealed, type WebhookSecret } from './webhook-secret.ts';
import { EVENT_TYPES, type EventType } from '../../proof/contract/event-types.ts';

const CHANGE = loadScript(new URL('./lua/change-webhook.lua', import.meta.url), oneOf('changed', 'conflict', 'full'));
const QUEUE = loadScript(new URL('./lua/queue-message.lua', import.meta.url), oneOf('queued', 'full', 'often'));

const MAX_ENDPOINTS = 20;
/** Messages that wait for one endpoint, and for all of a tenant; what comes beyond is lost, and counted. */
export const MAX_WAITING_OF_ENDPOINT = 10_000;
export const MAX_WAITING_OF_TENANT = 50_000;
/** One message is sent so often by hand. */
const MAX_BY_HAND = 10;
/** Secrets before the one that signs that may still sign too. */
const MAX_PREVIOUS = 5;
/** Of many that change one endpoint at once, each tries again so often. */
const MAX_TRIES = 100;
/** The queues of messages to addresses that were given with jobs, by host: one tenant has no more of them. */
const JOB_QUEUES = 64;
const MAX_FEED_EVENTS = 10_000;
/** Messages are kept for this long after they were made, delivered or not. */
export const KEEP_MESSAGES_MS = 7 * 86_400_000;
/** Events of a tenant without endpoints are recorded for this long after the last request for them. */
const LISTEN_MS = 86_400_000;

/** Standard Webhooks, or CloudEvents headers besides them. */
export const FORMATS = ['standard', 'cloudevents'] as const;
export const MESSAGE_STATUSES = ['pending', 'delivered', 'failed'] as const;

const SealedSecret = z.object({
  /** Its number, from 1. */
  generation: z.number(),
  /** The random bytes of the secret, sealed (`webhook-secret.ts`). */
  sealed: z.string(),
});
type SealedSecret = z.infer<typeof SealedSecret>;
const Secrets = SealedSecret.extend({
  /** Those before it that sign too, each until its time: what was handed out holds as long as was said. */
  previous: z.array(SealedSecret.extend({ untilMs: z.number() })).default([]),
});
/** The secrets that sign the messages to an address: the newest, and those before it that still do. */
export type Secrets = z.infer<typeof Secrets>;

/** Secrets, and whatever stands with them. */
const WithSecrets = Secrets.loose();

const StoredEndpoint = z.object({
  url: z.string(),
  events: z.array(z.enum(EVENT_TYPES)),
  format: z.enum(FORMATS),
  description: z.string(),
  createdMs: z.number(),
  disabledMs: z.number().nullable(),
  disabledBecause: z.string().nullable(),
  ...Secrets.shape,
});
type StoredEndpoint = z.infer<typeof StoredEndpoint>;
export type Endpoint = z.infer<typeof StoredEndpoint> & { readonly id: string };

const WebhookMessage = z.object({
  tenant: z.string(),
  endpoint: z.string(),
  url: z.string(),
  type: z.string(),
  body: z.string(),
  status: z.enum(MESSAGE_STATUSES),
  attempts: z.coerce.number(),
  created: z.coerce.number(),
  next: z.coerce.number().optional(),
  delivered: z.coerce.number().optional(),
  answered: z.coerce.number().optional(),
  problem: z
    .string()
    .optional()
    .transform((text) => (text === '' ? undefined : text)),
  /** How often it was sent by hand, and when it was last: its time begins again then. */
  byHand: z.coerce.number().default(0),
  from: z.coerce.number().optional(),
  /** The trace that its job is part of, as `traceparent` has it. */
  trace: z.string().optional(),
});
export type WebhookMessage = z.infer<typeof WebhookMessage> & { readonly id: string };

/** The endpoint of messages to a job's own address. */
export const JOB_ENDPOINT = 'job';

/** The queue of a message: of its endpoint, or of the host of a job's own address. */
export function targetOf(endpoint: string, url: string): string {
  if (endpoint !== JOB_ENDPOINT) return endpoint;
  const [byte = 0] = createHash('sha256').update(new URL(url).host).digest();
  return `${JOB_ENDPOINT}~${byte % JOB_QUEUES}`;
}

const UNKNOWN = 'There is no webhook endpoint with this id.';

/** The id of an endpoint to come. */
export const newWebhookId = () => `wh_${freshRandom(12).toString('hex')}`;

/**
 * Webhook endpoints of tenants, and the messages for them. Any number of calls may run at once: a change is
 * made to what the endpoint is then, so that none undoes another.
 */
@Injectable()
export class Webhooks {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #secrets: SecretsKeys;

  constructor(redis: Redis, keys: RedisKeys, secrets: SecretsKeys) {
    this.#redis = redis;
    this.#keys = keys;
    this.#secrets = secrets;
  }

  /** Makes an endpoint, which gets events from now on. Throws CodedError `too_many_webhooks`. */
  async create(
    tenant: string,
    id: string,
    wanted: Pick<Endpoint, 'url' | 'events' | 'format' | 'description'>,
  ): Promise<Endpoint> {
    return this.#change(tenant, id, (known) => {
      if (known !== undefined) return known;
      const [createdMs, disabledMs, disabledBecause] = [Date.now(), null, null];
      return { ...wanted, createdMs, disabledMs, disabledBecause, ...this.#newSecret(tenant, id, 1), previous: [] };
    });
  }

  /** Throws CodedError `webhook_not_found`. */
  async get(tenant: string, id: string): Promise<Endpoint> {
    const found = await this.find(tenant, id);
    if (found === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
    return found;
  }

  /** An endpoint of the tenant, or undefined. */
  async find(tenant: string, id: string): Promise<Endpoint | undefined> {
    if (id === JOB_ENDPOINT) return undefined;
    const text = await this.#redis.hget(this.#keys.webhooks(tenant), id);
    return text === null ? undefined : { id, ...StoredEndpoint.parse(JSON.parse(text)) };
  }

  /** The endpoints of a tenant, oldest first. */
  async list(tenant: string): Promise<Endpoint[]> {
    const found = await this.#redis.hgetall(this.#keys.webhooks(tenant));
    return Object.entries(found)
      .filter(([id]) => id !== JOB_ENDPOINT)
      .map(([id, text]) => ({ id, ...StoredEndpoint.parse(JSON.parse(text)) }))
      .toSorted((a, b) => a.createdMs - b.createdMs);
  }

  /** Changes what is named. Throws CodedError `webhook_not_found`. */
  async change(
    tenant: string,
    id: string,
    change: {
      url?: string | undefined;
      events?: EventType[] | undefined;
      description?: string | undefined;
      disabled?: boolean | undefined;
    },
  ): Promise<Endpoint> {
    return this.#change(tenant, id, (endpoint) => {
      if (endpoint === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
      const { url, events, description, disabled } = change;
      return {
        ...endpoint,
        url: url ?? endpoint.url,
        events: events ?? endpoint.events,
        description: description ?? endpoint.description,
        ...(disabled === undefined
          ? {}
          : disabled
            ? { disabledMs: Date.now(), disabledBecause: 'by its owner' }
            : { disabledMs: null, disabledBecause: null }),
      };
    });
  }

  /**
   * A new secret signs from now on; those before it sign too, each as long as was said when it was replaced.
   * Throws CodedErrors `webhook_not_found` and `too_many_webhooks`, where too many overlap already.
   */
  async rotate(tenant: string, id: string, overlapMs: number): Promise<Endpoint> {
    return this.#change(tenant, id, (endpoint) => {
      if (endpoint === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
      return { ...endpoint, ...this.#rotated(tenant, id, endpoint, overlapMs) };
    });
  }

  /** The secrets for addresses that are given with the tenant's jobs. They are made when first asked for. */
  async jobSecrets(tenant: string): Promise<Secrets> {
    return this.#changeSecrets(tenant, JOB_ENDPOINT, (known) => known ?? this.#firstSecrets(tenant));
  }

  /** Rotates the secret of the addresses that are given with jobs, like `rotate`. */
  async rotateJobSecret(tenant: string, overlapMs: number): Promise<Secrets> {
    return this.#changeSecrets(tenant, JOB_ENDPOINT, (known) =>
      this.#rotated(tenant, JOB_ENDPOINT, known ?? this.#firstSecrets(tenant), overlapMs),
    );
  }

  /** The secret of an endpoint, or of `JOB_ENDPOINT`, that signs. Throws CodedError `key_file_unfit`. */
  secretOf(tenant: string, endpoint: string, { generation, sealed }: SealedSecret): WebhookSecret {
    return openSecret(this.#secrets, { tenant, endpoint, generation }, sealed);
  }

  /**
   * The value of `webhook-signature` for a message: by the secret in force, and by those before it that sign
   * too. Throws CodedError `key_file_unfit`.
   */
  signatures(
    tenant: string,
    endpoint: string,
    secrets: Secrets,
    message: { readonly id: string; readonly timestampS: number; readonly body: string },
  ): string {
    const still = secrets.previous.filter(({ untilMs }) => untilMs > message.timestampS * 1_000);
    return [secrets, ...still]
      .map((one) => this.secretOf(tenant, endpoint, one).sign(message.id, message.timestampS, message.body))
      .join(' ');
  }

  /**
   * Seals every secret of the tenant by the key that seals now; returns how many addresses had one that
   * another key had sealed. Throws CodedError `key_file_unfit` where that key is not known.
   */
  async reseal(tenant: string): Promise<number> {
    let changed = 0;
    for (const [id, text] of Object.entries(await this.#redis.hgetall(this.#keys.webhooks(tenant)))) {
      const { sealed, previous } = Secrets.parse(JSON.parse(text));
      if ([{ sealed }, ...previous].every((one) => this.#secrets.isCurrent(one.sealed))) continue;
      await this.#changeSecrets(tenant, id, (known) => known && this.#resealed(tenant, id, known));
      changed += 1;
    }
    return changed;
  }

  /**
   * Stops messages to an endpoint that does not take them any more, and says so in the tenant's feed. Returns
   * whether it was not disabled before.
   */
  async disable(tenant: string, id: string, because: string): Promise<boolean> {
    const disabledMs = Date.now();
    const before: StoredEndpoint[] = [];
    try {
      await this.#change(tenant, id, (endpoint) => {
        if (endpoint === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
        before.push(endpoint);
        return endpoint.disabledMs === null ? { ...endpoint, disabledMs, disabledBecause: because } : endpoint;
      });
    } catch (error) {
      if (error instanceof CodedError && error.code === 'webhook_not_found') return false;
      throw error;
    }
    if (before.at(-1)?.disabledMs !== null) return false;
    const type = 'webhook.disabled' satisfies EventType;
    const timestamp = new Date().toISOString();
    const data = JSON.stringify({ type, timestamp, data: { endpoint: id, because } });
    await this.#redis.xadd(this.#keys.feed(tenant), 'MAXLEN', '~', MAX_FEED_EVENTS, '*', 'type', type, 'data', data);
    return true;
  }

  /** Deletes an endpoint. Throws CodedError `webhook_not_found`. */
  async remove(tenant: string, id: string): Promise<void> {
    await this.get(tenant, id);
    await this.#redis.hdel(this.#keys.webhooks(tenant), id);
    await this.#redis.hdel(this.#keys.webhookLost, `${tenant} ${id}`);
    await this.#redis.hdel(this.#keys.webhookHealth, `${tenant} ${id}`);
  }

  /** Keeps the tenant's events from now on, for a day at least: somebody has asked for them. */
  async listen(tenant: string, ms = LISTEN_MS): Promise<void> {
    const until = Number((await this.#redis.hget(this.#keys.listeners, tenant)) ?? 0);
    if (until < Date.now() + ms) await this.#redis.hset(this.#keys.listeners, tenant, Date.now() + ms);
  }

  /** How many messages of each endpoint were lost because too many waited. */
  async lost(tenant: string, ids: readonly string[]): Promise<number[]> {
    if (ids.length === 0) return [];
    const found = await this.#redis.hmget(this.#keys.webhookLost, ...ids.map((id) => `${tenant} ${id}`));
    return found.map((text) => Number(text ?? 0));
  }

  /** Sends one test message now, whatever events the endpoint gets. */
  async sendTest(tenant: string, endpoint: Endpoint): Promise<WebhookMessage> {
    const createdMs = Date.now();
    const body = JSON.stringify({
      type: 'webhook.test',
      timestamp: new Date(createdMs).toISOString(),
      data: { endpoint: endpoint.id },
    });
    const id = newMessageId();
    const fields = { tenant, endpoint: endpoint.id, url: endpoint.url, type: 'webhook.test', body, created: createdMs };
    await this.#queue({ tenant, endpoint: endpoint.id, url: endpoint.url, id }, fields);
    return this.delivery(tenant, id);
  }

  /** At most `limit` messages of an endpoint, newest first. */
  async deliveries(tenant: string, endpoint: string, limit: number): Promise<WebhookMessage[]> {
    const ids = await this.#redis.zrevrange(this.#keys.webhookMessagesOf(tenant, endpoint), 0, limit - 1);
    return (await Promise.all(ids.map((id) => this.read(id)))).filter((one) => one !== undefined);
  }

  /** A tenant's message. Throws CodedError `delivery_not_found`. */
  async delivery(tenant: string, id: string): Promise<WebhookMessage> {
    const found = await this.read(id);
    if (found?.tenant !== tenant) throw new CodedError('delivery_not_found', 'There is no message with this id.');
    return found;
  }

  /** A message of any tenant, or undefined. */
  async read(id: string): Promise<WebhookMessage | undefined> {
    const parsed = WebhookMessage.safeParse(await this.#redis.hgetall(this.#keys.webhookMessage(id)));
    return parsed.success ? { id, ...parsed.data } : undefined;
  }

  /**
   * Sends a message again under the same id, with a fresh schedule; one that waits is left as it is. Throws
   * CodedErrors `delivery_not_found`, and `rate_limited` where it was sent by hand often enough.
   */
  async redeliver(tenant: string, id: string): Promise<WebhookMessage> {
    const { endpoint, url } = await this.delivery(tenant, id);
    await this.#queue({ tenant, endpoint, url, id }, {});
    return this.delivery(tenant, id);
  }

  async #queue(
    message: { readonly tenant: string; readonly endpoint: string; readonly url: string; readonly id: string },
    fields: Record<string, string | number>,
  ): Promise<void> {
    const { tenant, endpoint, url, id } = message;
    const reply = await QUEUE.run(
      this.#redis,
      [this.#keys.webhookMessages, this.#keys.webhookWaiting],
      [
        this.#keys.prefix,
        tenant,
        endpoint,
        targetOf(endpoint, url),
        id,
        Date.now(),
        KEEP_MESSAGES_MS,
        MAX_WAITING_OF_ENDPOINT,
        MAX_BY_HAND,
        ...Object.entries(fields).flat(),
      ],
    );
    if (reply === 'queued') return;
    const [why, headers] =
      reply === 'full'
        ? [`${MAX_WAITING_OF_ENDPOINT} messages wait for this endpoint already.`, { 'retry-after': '60' }]
        : [`This message was sent by hand ${MAX_BY_HAND} times already.`, { 'x-should-retry': 'false' }];
    throw new CodedError('rate_limited', why, { headers: { ...headers } });
  }

  /**
   * Makes of an endpoint, or of none, what `change` makes of it, and of what it has become meanwhile. Throws
   * what `change` throws, `too_many_webhooks`, and `overloaded` after a hundred others came first.
   */
  async #change(
    tenant: string,
    id: string,
    change: (endpoint: StoredEndpoint | undefined) => StoredEndpoint,
  ): Promise<Endpoint> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const before = (await this.#redis.hget(this.#keys.webhooks(tenant), id)) ?? '';
      const changed = change(before === '' ? undefined : StoredEndpoint.parse(JSON.parse(before)));
      const reply = await this.#exchange(tenant, id, before, JSON.stringify(changed));
      if (reply === 'changed') return { id, ...changed };
      if (reply === 'full')
        throw new CodedError('too_many_webhooks', `There are ${MAX_ENDPOINTS} endpoints already; delete one first.`);
    }
    throw new CodedError('overloaded', 'This endpoint is being changed by others; try again.');
  }

  /**
   * Makes of the secrets of an address, or of none, what `change` makes of them, and leaves all else that
   * stands with them. Throws what `change` throws, and as `#change`.
   */
  async #changeSecrets(
    tenant: string,
    id: string,
    change: (secrets: Secrets | undefined) => Secrets | undefined,
  ): Promise<Secrets> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const before = (await this.#redis.hget(this.#keys.webhooks(tenant), id)) ?? '';
      const stored = before === '' ? undefined : WithSecrets.parse(JSON.parse(before));
      const changed = change(stored);
      if (changed === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
      if (changed === stored) return changed;
      const reply = await this.#exchange(tenant, id, before, JSON.stringify({ ...stored, ...changed }));
      if (reply === 'changed') return changed;
    }
    throw new CodedError('overloaded', 'This secret is being changed by others; try again.');
  }

  #exchange(tenant: string, id: string, before: string, after: string): Promise<'changed' | 'conflict' | 'full'> {
    // The secret of addresses given with jobs stands among the endpoints and counts as none.
    const most = id === JOB_ENDPOINT ? MAX_ENDPOINTS + 1 : MAX_ENDPOINTS;
    return CHANGE.run(this.#redis, [this.#keys.webhooks(tenant)], [id, before, after, most, JOB_ENDPOINT]);
  }

  #newSecret(tenant: string, endpoint: string, generation: number): SealedSecret {
    return { generation, sealed: newSealedSecret(this.#secrets, { tenant, endpoint, generation }) };
  }

  #firstSecrets(tenant: string): Secrets {
    return { ...this.#newSecret(tenant, JOB_ENDPOINT, 1), previous: [] };
  }

  #resealed(tenant: string, endpoint: string, secrets: Secrets): Secrets {
    const again = <One extends SealedSecret>(one: One): One => {
      const place = { tenant, endpoint, generation: one.generation };
      return { ...one, sealed: resealed(this.#secrets, place, one.sealed) };
    };
    return { ...again(secrets), previous: secrets.previous.map(again) };
  }

  /** One secret further. Throws CodedError `too_many_webhooks` where too many overlap. */
  #rotated(tenant: string, endpoint: string, { generation, sealed, previous }: Secrets, overlapMs: number): Secrets {
    const now = Date.now();
    const still = previous.filter(({ untilMs }) => untilMs > now);
    if (still.length >= MAX_PREVIOUS)
      throw new CodedError(
        'too_many_webhooks',
        `${MAX_PREVIOUS} earlier secrets are still in force; wait for one to end.`,
      );
    const before = overlapMs > 0 ? [{ generation, sealed, untilMs: now + overlapMs }] : [];
    return { ...this.#newSecret(tenant, endpoint, generation + 1), previous: [...still, ...before] };
  }
}

/** The id of a message: receivers use it to recognize a repeated one. */
export function newMessageId(): string {
  return `msg_${freshRandom(16).toString('hex')}`;
}

/** The messages of an event: one for each endpoint that gets it, and one for the job's own address. */
export function messagesOf(
  event: WebhookEvent,
  endpoints: readonly Endpoint[],
  own: { readonly url: string; readonly events: readonly string[] } | undefined,
  trace = '',
): { id: string; endpoint: string; target: string; fields: Record<string, string> }[] {
  const message = (endpoint: string, url: string) => ({
    id: newMessageId(),
    endpoint,
    target: targetOf(endpoint, url),
    fields: { url, type: event.type, body: event.body, ...(trace === '' ? {} : { trace }) },
  });
  return [
    ...endpoints
      .filter(({ disabledMs, events }) => disabledMs === null && events.includes(event.type))
      .map(({ id, url }) => message(id, url)),
    ...(own?.events.includes(event.type) === true ? [message(JOB_ENDPOINT, own.url)] : []),
  ];
}
