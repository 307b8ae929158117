import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { JobKeys } from '../jobs/job.keys.ts';
import { SCOPES, hashesEqual, newApiKey, parseApiKey, type Caller, type Scope } from './api-key.ts';

const ApiKeyRecord = z.object({
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  tenant: z.string(),
  scopes: z.string().transform((text) => SCOPES.filter((scope) => text.split(' ').includes(scope))),
  createdAt: z.string(),
  revokedAt: z.string().optional(),
});

export interface ApiKeyFacts {
  readonly id: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly createdAt: string;
  readonly revokedAt: string | undefined;
}

/** A key is looked up again after this long, which is how soon a revoked one stops working on every instance. */
const CACHE_MS = 1_000;
const CACHE_SIZE = 10_000;
const NOBODY = '0'.repeat(64);

/** API keys in Redis, where only the hash of the secret stands. */
export class ApiKeys {
  readonly #redis: Redis;
  readonly #keys: JobKeys;
  readonly #cache = new Map<string, { caller: Caller | undefined; at: number }>();

  constructor(redis: Redis, keys: JobKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** Makes a key; its text is shown once and stored nowhere. */
  async create(tenant: string, scopes: readonly Scope[]): Promise<{ text: string; keyId: string }> {
    const { text, keyId, hash } = newApiKey();
    await this.#redis.hset(this.#keys.apiKey(keyId), {
      hash,
      tenant,
      scopes: scopes.join(' '),
      createdAt: new Date().toISOString(),
    });
    await this.#redis.zadd(this.#keys.apiKeys, Date.now(), keyId);
    return { text, keyId };
  }

  /** Whether there was such a key. */
  async revoke(keyId: string): Promise<boolean> {
    if ((await this.#redis.exists(this.#keys.apiKey(keyId))) === 0) return false;
    await this.#redis.hset(this.#keys.apiKey(keyId), { revokedAt: new Date().toISOString() });
    return true;
  }

  /** The newest 1,000 keys, without secrets. */
  async list(): Promise<ApiKeyFacts[]> {
    const ids = await this.#redis.zrange(this.#keys.apiKeys, '-1000', '-1');
    const found = await Promise.all(
      ids.map(async (id) => ({ id, record: ApiKeyRecord.safeParse(await this.#redis.hgetall(this.#keys.apiKey(id))) })),
    );
    return found.flatMap(({ id, record }) =>
      record.success
        ? [
            {
              id,
              tenant: record.data.tenant,
              scopes: record.data.scopes,
              createdAt: record.data.createdAt,
              revokedAt: record.data.revokedAt,
            },
          ]
        : [],
    );
  }

  /** Who holds this key, or undefined. Does the same work for an unknown key as for a known one. */
  async authenticate(text: string): Promise<Caller | undefined> {
    const presented = parseApiKey(text);
    if (presented === undefined) return undefined;
    const cacheKey = `${presented.keyId}:${presented.hash}`;
    const cached = this.#cache.get(cacheKey);
    const now = performance.now();
    if (cached !== undefined && now - cached.at < CACHE_MS) return cached.caller;
    const record = ApiKeyRecord.safeParse(await this.#redis.hgetall(this.#keys.apiKey(presented.keyId)));
    const matches = hashesEqual(record.success ? record.data.hash : NOBODY, presented.hash);
    const caller =
      record.success && matches && record.data.revokedAt === undefined
        ? { tenant: record.data.tenant, scopes: new Set(record.data.scopes), keyId: presented.keyId }
        : undefined;
    if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
    this.#cache.set(cacheKey, { caller, at: now });
    return caller;
  }
}
