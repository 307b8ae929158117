import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { WebhookEvent } from './webhook-event.ts';
import { JOB_ENDPOINT, type Endpoint } from './webhook.store.ts';

const QUEUE = loadScript(new URL('./lua/queue-message.lua', import.meta.url), oneOf('queued', 'full', 'often'));

/** Messages that wait for one endpoint, and for all of a tenant; what comes beyond is lost, and counted. */
export const MAX_WAITING_OF_ENDPOINT = 10_000;
export const MAX_WAITING_OF_TENANT = 50_000;
/** Messages are kept for this long after they were made, delivered or not. */
export const KEEP_MESSAGES_MS = 7 * 86_400_000;
/** One message is sent so often by hand. */
const MAX_BY_HAND = 10;
/** The queues of messages to addresses that were given with jobs, by host: one tenant has no more of them. */
const JOB_QUEUES = 64;

export const MESSAGE_STATUSES = ['pending', 'delivered', 'failed'] as const;

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

/** A message that is to be queued: to whom, and under which id. */
interface Addressed {
  readonly tenant: string;
  readonly endpoint: string;
  readonly url: string;
  readonly id: string;
}

/** The messages for webhook endpoints, and what became of them. Any number of calls may run at once. */
@Injectable()
export class WebhookMessages {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** A message of any tenant, or undefined. */
  async read(id: string): Promise<WebhookMessage | undefined> {
    const parsed = WebhookMessage.safeParse(await this.#redis.hgetall(this.#keys.webhookMessage(id)));
    return parsed.success ? { id, ...parsed.data } : undefined;
  }

  /** A tenant's message. Throws CodedError `delivery_not_found`. */
  async get(tenant: string, id: string): Promise<WebhookMessage> {
    const found = await this.read(id);
    if (found?.tenant !== tenant) throw new CodedError('delivery_not_found', 'There is no message with this id.');
    return found;
  }

  /** At most `limit` messages of an endpoint, newest first. */
  async list(tenant: string, endpoint: string, limit: number): Promise<WebhookMessage[]> {
    const ids = await this.#redis.zrevrange(this.#keys.webhookMessagesOf(tenant, endpoint), 0, limit - 1);
    return (await Promise.all(ids.map((id) => this.read(id)))).filter((one) => one !== undefined);
  }

  /** The messages by which these endpoints of a tenant were told events of a job or a batch, oldest first. */
  async about(
    tenant: string,
    subject: string,
    events: readonly WebhookEvent[],
    endpoints: readonly string[],
  ): Promise<WebhookMessage[]> {
    const ids = events.flatMap(({ rank }) => endpoints.map((endpoint) => messageIdOf(subject, rank, endpoint)));
    const found = await Promise.all(ids.map((id) => this.read(id)));
    return found
      .filter((one) => one !== undefined)
      .filter((one) => one.tenant === tenant)
      .toSorted((a, b) => a.created - b.created);
  }

  /** How many messages of each endpoint were lost because too many waited. */
  async lost(tenant: string, ids: readonly string[]): Promise<number[]> {
    if (ids.length === 0) return [];
    const found = await this.#redis.hmget(this.#keys.webhookLost, ...ids.map((id) => `${tenant} ${id}`));
    return found.map((text) => Number(text ?? 0));
  }

  /**
   * Sends one test message now, whatever events the endpoint gets. Throws CodedError `rate_limited` where too
   * many wait already.
   */
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
    return this.get(tenant, id);
  }

  /**
   * Sends a message again under the same id, with a fresh schedule; one that waits is left as it is. Throws
   * CodedErrors `delivery_not_found`, and `rate_limited` where it was sent by hand often enough.
   */
  async redeliver(tenant: string, id: string): Promise<WebhookMessage> {
    const { endpoint, url } = await this.get(tenant, id);
    await this.#queue({ tenant, endpoint, url, id }, {});
    return this.get(tenant, id);
  }

  async #queue({ tenant, endpoint, url, id }: Addressed, fields: Record<string, string | number>): Promise<void> {
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
}

/** The queue of a message: of its endpoint, or of the host of a job's own address. */
export function targetOf(endpoint: string, url: string): string {
  if (endpoint !== JOB_ENDPOINT) return endpoint;
  const [byte = 0] = createHash('sha256').update(new URL(url).host).digest();
  return `${JOB_ENDPOINT}~${byte % JOB_QUEUES}`;
}

/** The id of a message that is about no event of a job or a batch. */
export function newMessageId(): string {
  return `msg_${freshRandom(16).toString('hex')}`;
}

/**
 * The id of the message by which an endpoint is told an event of a job or a batch. Receivers use it to
 * recognize a repeated one, and an event that is recorded twice is sent once.
 */
function messageIdOf(subject: string, rank: number, endpoint: string): string {
  return `msg_${sha256Hex(JSON.stringify([subject, rank, endpoint])).slice(0, 32)}`;
}

/**
 * The messages of an event of a job or a batch: one for each endpoint that gets it, and one for the job's own
 * address.
 */
export function messagesOf(
  subject: string,
  event: WebhookEvent,
  endpoints: readonly Endpoint[],
  own: { readonly url: string; readonly events: readonly string[] } | undefined,
  trace = '',
): { id: string; endpoint: string; target: string; fields: Record<string, string> }[] {
  const message = (endpoint: string, url: string) => ({
    id: messageIdOf(subject, event.rank, endpoint),
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
