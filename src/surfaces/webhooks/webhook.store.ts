import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import { EVENT_TYPES, type EventType } from '../../proof/contract/event-types.ts';
import {
  Secrets,
  areCurrent,
  firstSecrets,
  resealedSecrets,
  rotatedSecrets,
  signaturesOf,
  type Address,
  type SealedSecret,
} from './address-secrets.ts';
import { openSecret, type WebhookSecret } from './webhook-secret.ts';

const CHANGE = loadScript(new URL('./lua/change-webhook.lua', import.meta.url), oneOf('changed', 'conflict', 'full'));

const MAX_ENDPOINTS = 20;
/** Of many that change one endpoint at once, each tries again so often. */
const MAX_TRIES = 100;
/** Events of a tenant's feed. */
export const MAX_FEED_EVENTS = 10_000;
/** Events of a tenant without endpoints are recorded for this long after the last request for them. */
const LISTEN_MS = 86_400_000;

/** Standard Webhooks, or CloudEvents headers besides them. */
export const FORMATS = ['standard', 'cloudevents'] as const;

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
  /** When its owner last named another address, or enabled it again: what befell it before counts no more. */
  changedMs: z.number().default(0),
  ...Secrets.shape,
});
type StoredEndpoint = z.infer<typeof StoredEndpoint>;
export type Endpoint = z.infer<typeof StoredEndpoint> & { readonly id: string };

/** The endpoint of messages to a job's own address. */
export const JOB_ENDPOINT = 'job';

const UNKNOWN = 'There is no webhook endpoint with this id.';

/** The id of an endpoint to come. */
export const newWebhookId = () => `wh_${freshRandom(12).toString('hex')}`;

/**
 * Webhook endpoints of tenants, and the secrets that sign what goes to them. Any number of calls may run at
 * once: a change is made to what the endpoint is then, so that none undoes another.
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
      const secrets = firstSecrets(this.#secrets, { tenant, endpoint: id });
      return { ...wanted, createdMs, disabledMs, disabledBecause, changedMs: createdMs, ...secrets };
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

  /**
   * Changes what is named. Another address, or one that is enabled again, begins as a new one does: what
   * failed before counts no more. Throws CodedError `webhook_not_found`.
   */
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
    const { url, events, description, disabled } = change;
    const anew: boolean[] = [];
    const changed = await this.#change(tenant, id, (endpoint) => {
      if (endpoint === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
      const isAnew = (url ?? endpoint.url) !== endpoint.url || (disabled === false && endpoint.disabledMs !== null);
      anew.push(isAnew);
      return {
        ...endpoint,
        url: url ?? endpoint.url,
        events: events ?? endpoint.events,
        description: description ?? endpoint.description,
        // It tells two changes of one moment apart.
        changedMs: isAnew ? Math.max(Date.now(), endpoint.changedMs + 1) : endpoint.changedMs,
        ...(disabled === undefined
          ? {}
          : disabled
            ? { disabledMs: Date.now(), disabledBecause: 'by its owner' }
            : { disabledMs: null, disabledBecause: null }),
      };
    });
    if (anew.at(-1) === true) await this.#endRest(tenant, id);
    return changed;
  }

  /**
   * A new secret signs from now on; those before it sign too, each as long as was said when it was replaced.
   * Throws CodedErrors `webhook_not_found` and `too_many_webhooks`, where too many overlap already.
   */
  async rotate(tenant: string, id: string, overlapMs: number): Promise<Endpoint> {
    return this.#change(tenant, id, (endpoint) => {
      if (endpoint === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
      const address = { tenant, endpoint: id };
      return { ...endpoint, ...rotatedSecrets(this.#secrets, address, endpoint, overlapMs, Date.now()) };
    });
  }

  /** The secrets for addresses that are given with the tenant's jobs. They are made when first asked for. */
  async jobSecrets(tenant: string): Promise<Secrets> {
    const address = { tenant, endpoint: JOB_ENDPOINT };
    return this.#changeSecrets(address, (known) => known ?? firstSecrets(this.#secrets, address));
  }

  /** Rotates the secret of the addresses that are given with jobs, like `rotate`. */
  async rotateJobSecret(tenant: string, overlapMs: number): Promise<Secrets> {
    const address = { tenant, endpoint: JOB_ENDPOINT };
    return this.#changeSecrets(address, (known) =>
      rotatedSecrets(this.#secrets, address, known ?? firstSecrets(this.#secrets, address), overlapMs, Date.now()),
    );
  }

  /** The secret of an endpoint, or of `JOB_ENDPOINT`, that signs. Throws CodedError `key_file_unfit`. */
  secretOf(tenant: string, endpoint: string, { generation, sealed }: SealedSecret): WebhookSecret {
    return openSecret(this.#secrets, { tenant, endpoint, generation }, sealed);
  }

  /**
   * The value of `webhook-signature` for a message to an endpoint, or to the address of a job. Throws
   * CodedErrors `key_file_unfit` and `overloaded`.
   */
  async signatures(
    tenant: string,
    endpoint: Endpoint | undefined,
    message: { readonly id: string; readonly timestampS: number; readonly body: string },
  ): Promise<string> {
    const secrets = endpoint ?? (await this.jobSecrets(tenant));
    return signaturesOf(this.#secrets, { tenant, endpoint: endpoint?.id ?? JOB_ENDPOINT }, secrets, message);
  }

  /**
   * Seals every secret of the tenant by the key that seals now; returns how many addresses had one that
   * another key had sealed. Throws CodedError `key_file_unfit` where that key is not known.
   */
  async reseal(tenant: string): Promise<number> {
    let changed = 0;
    for (const [id, text] of Object.entries(await this.#redis.hgetall(this.#keys.webhooks(tenant)))) {
      if (areCurrent(this.#secrets, Secrets.parse(JSON.parse(text)))) continue;
      const address = { tenant, endpoint: id };
      await this.#changeSecrets(address, (known) => known && resealedSecrets(this.#secrets, address, known));
      changed += 1;
    }
    return changed;
  }

  /** What waits for the endpoint is sent now, however long it was to be left alone. */
  async #endRest(tenant: string, id: string): Promise<void> {
    await this.#redis.hdel(this.#keys.webhookHealth, `${tenant} ${id}`);
    await this.#redis.zadd(this.#keys.webhookMessages, 'XX', 'LT', Date.now(), `${tenant} ${id}`);
  }

  /**
   * Stops messages to an endpoint that does not take them any more, as it was when that was seen, and says so
   * in the tenant's feed. Returns whether it is disabled by this: its owner may have changed it meanwhile.
   */
  async disable(tenant: string, { id, changedMs }: Endpoint, because: string): Promise<boolean> {
    const disabledMs = Date.now();
    const before: StoredEndpoint[] = [];
    try {
      await this.#change(tenant, id, (endpoint) => {
        if (endpoint === undefined) throw new CodedError('webhook_not_found', UNKNOWN);
        before.push(endpoint);
        const isSame = endpoint.disabledMs === null && endpoint.changedMs === changedMs;
        return isSame ? { ...endpoint, disabledMs, disabledBecause: because } : endpoint;
      });
    } catch (error) {
      if (error instanceof CodedError && error.code === 'webhook_not_found') return false;
      throw error;
    }
    const last = before.at(-1);
    if (last?.disabledMs !== null || last.changedMs !== changedMs) return false;
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
    { tenant, endpoint: id }: Address,
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
}
