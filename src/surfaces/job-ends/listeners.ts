import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Endpoint, Webhooks } from '../webhooks/webhook.store.ts';

interface ListenerParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly webhooks: Webhooks;
}

/**
 * Who is to hear of a tenant's events, asked once for each tenant and kept for one look. It follows from what
 * exists: a tenant that has endpoints is heard, and so is one that has asked for its events within a day.
 */
export class Listeners {
  readonly #parts: ListenerParts;
  readonly #known = new Map<string, Promise<Endpoint[] | undefined>>();

  constructor(parts: ListenerParts) {
    this.#parts = parts;
  }

  /** The endpoints of a tenant whose events are kept; undefined where nobody listens. */
  of(tenant: string): Promise<Endpoint[] | undefined> {
    const known = this.#known.get(tenant) ?? this.#ask(tenant);
    this.#known.set(tenant, known);
    return known;
  }

  async #ask(tenant: string): Promise<Endpoint[] | undefined> {
    const { redis, keys, webhooks } = this.#parts;
    const [endpoints, until] = await Promise.all([webhooks.list(tenant), redis.hget(keys.listeners, tenant)]);
    if (endpoints.length > 0 || Number(until ?? 0) >= Date.now()) return endpoints;
    if (until !== null) await redis.hdel(keys.listeners, tenant);
    return undefined;
  }
}
