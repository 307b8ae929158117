import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { type WebhookEvent } from './webhook-event.ts';
import { EVENT_TYPES, type EventType } from '../../proof/contract/event-types.ts';

const MAX_ENDPOINTS = 20;
/** Messages are kept for this long after they were made, delivered or not. */
export const KEEP_MESSAGES_MS = 7 * 86_400_000;
/** Events of a tenant without endpoints are recorded for this long after the last request for them. */
const LISTEN_MS = 86_400_000;
const FOREVER = 8_640_000_000_000_000;

/** Standard Webhooks, or CloudEvents headers besides them. */
export const FORMATS = ['standard', 'cloudevents'] as const;
export const MESSAGE_STATUSES = ['pending', 'delivered', 'failed'] as const;

const Endpoint = z.object({
  url: z.string(),
  events: z.array(z.enum(EVENT_TYPES)),
  format: z.enum(FORMATS),
  description: z.string(),
  createdMs: z.number(),
  disabledMs: z.number().nullable(),
  disabledBecause: z.string().nullable(),
  /** Number of the secret that signs, from 1. The one before it signs too until `previousUntilMs`. */
  generation: z.number(),
  previousUntilMs: z.number().nullable(),
});
export type Endpoint = z.infer<typeof Endpoint> & { readonly id: string };

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
  problem: z.string().optional(),
});
export type WebhookMessage = z.infer<typeof WebhookMessage> & { readonly id: string };

/** The endpoint of messages to a job's own address. */
export const JOB_ENDPOINT = 'job';

const UNKNOWN = 'There is no webhook endpoint with this id.';

/** The id of an endpoint to come. */
export const newWebhookId = () => `wh_${freshRandom(12).toString('hex')}`;

/**
 * Webhook endpoints of tenants, and the messages for them. Any number of calls may run at once; of two
 * changes to one endpoint, the later one wins.
 */
@Injectable()
export class Webhooks {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Makes an endpoint, which gets events from now on. Throws CodedError `too_many_webhooks`. */
  async create(
    tenant: string,
    id: string,
    wanted: Pick<Endpoint, 'url' | 'events' | 'format' | 'description'>,
  ): Promise<Endpoint> {
    const known = (await this.list(tenant)).find((endpoint) => endpoint.id === id);
    if (known !== undefined) return known;
    if ((await this.#redis.hlen(this.#keys.webhooks(tenant))) >= MAX_ENDPOINTS)
      throw new CodedError('too_many_webhooks', `There are ${MAX_ENDPOINTS} endpoints already; delete one first.`);
    const endpoint: Endpoint = {
      id,
      ...wanted,
      createdMs: Date.now(),
      disabledMs: null,
      disabledBecause: null,
      generation: 1,
      previousUntilMs: null,
    };
    await this.#redis.hset(this.#keys.listeners, tenant, FOREVER);
    await this.#write(tenant, endpoint);
    return endpoint;
  }

  /** Throws CodedError `webhook_not_found`. */
  async get(tenant: string, id: string): Promise<Endpoint> {
    const found = (await this.list(tenant)).find((endpoint) => endpoint.id === id);
    if (found === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
    return found;
  }

  /** The endpoints of a tenant, oldest first. */
  async list(tenant: string): Promise<Endpoint[]> {
    const found = await this.#redis.hgetall(this.#keys.webhooks(tenant));
    return Object.entries(found)
      .map(([id, text]) => ({ id, ...Endpoint.parse(JSON.parse(text)) }))
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
    const endpoint = await this.get(tenant, id);
    const changed: Endpoint = {
      ...endpoint,
      url: change.url ?? endpoint.url,
      events: change.events ?? endpoint.events,
      description: change.description ?? endpoint.description,
      ...(change.disabled === undefined
        ? {}
        : change.disabled
          ? { disabledMs: Date.now(), disabledBecause: 'by its owner' }
          : { disabledMs: null, disabledBecause: null }),
    };
    await this.#write(tenant, changed);
    return changed;
  }

  /**
   * A new secret signs from now on; the one before it signs too during the overlap. Throws CodedError
   * `webhook_not_found`.
   */
  async rotate(tenant: string, id: string, overlapMs: number): Promise<Endpoint> {
    const endpoint = await this.get(tenant, id);
    const changed = {
      ...endpoint,
      generation: endpoint.generation + 1,
      previousUntilMs: Date.now() + overlapMs,
    };
    await this.#write(tenant, changed);
    return changed;
  }

  /** Stops messages to an endpoint whose receiver does not want them any more. */
  async disable(tenant: string, id: string, because: string): Promise<void> {
    const endpoint = await this.get(tenant, id).catch(() => undefined);
    if (endpoint !== undefined)
      await this.#write(tenant, { ...endpoint, disabledMs: Date.now(), disabledBecause: because });
  }

  /** Deletes an endpoint. Throws CodedError `webhook_not_found`. */
  async remove(tenant: string, id: string): Promise<void> {
    await this.get(tenant, id);
    await this.#redis.hdel(this.#keys.webhooks(tenant), id);
    if ((await this.#redis.hlen(this.#keys.webhooks(tenant))) === 0)
      await this.#redis.hset(this.#keys.listeners, tenant, Date.now() + LISTEN_MS);
  }

  /** Records the tenant's events from now on, for a day at least. */
  async listen(tenant: string, ms = LISTEN_MS): Promise<void> {
    const until = Number((await this.#redis.hget(this.#keys.listeners, tenant)) ?? 0);
    if (until < Date.now() + ms) await this.#redis.hset(this.#keys.listeners, tenant, Date.now() + ms);
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
    await this.#redis
      .multi()
      .hset(this.#keys.webhookMessage(id), {
        tenant,
        endpoint: endpoint.id,
        url: endpoint.url,
        type: 'webhook.test',
        body,
        status: 'pending',
        attempts: 0,
        created: createdMs,
      })
      .pexpire(this.#keys.webhookMessage(id), KEEP_MESSAGES_MS)
      .zadd(this.#keys.webhookMessagesOf(tenant, endpoint.id), createdMs, id)
      .zadd(this.#keys.webhookMessages, createdMs, id)
      .exec();
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
   * Sends a message again under the same id, with a fresh schedule. Throws CodedError `delivery_not_found`.
   */
  async redeliver(tenant: string, id: string): Promise<WebhookMessage> {
    const found = await this.delivery(tenant, id);
    await this.#redis
      .multi()
      .hset(this.#keys.webhookMessage(id), { status: 'pending', attempts: 0 })
      .pexpire(this.#keys.webhookMessage(id), KEEP_MESSAGES_MS)
      .zadd(this.#keys.webhookMessages, Date.now(), id)
      .exec();
    return { ...found, status: 'pending', attempts: 0 };
  }

  async #write(tenant: string, { id, ...endpoint }: Endpoint): Promise<void> {
    await this.#redis.hset(this.#keys.webhooks(tenant), id, JSON.stringify(endpoint));
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
): { id: string; endpoint: string; fields: Record<string, string> }[] {
  const message = (endpoint: string, url: string) => ({
    id: newMessageId(),
    endpoint,
    fields: { url, type: event.type, body: event.body },
  });
  return [
    ...endpoints
      .filter(({ disabledMs, events }) => disabledMs === null && events.includes(event.type))
      .map(({ id, url }) => message(id, url)),
    ...(own?.events.includes(event.type) === true ? [message(JOB_ENDPOINT, own.url)] : []),
  ];
}
