import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { HOUSE, SCOPES, hashesEqual, mayHold, newApiKey, parseApiKey, type Caller, type Scope } from './api-key.ts';
import { AuditLog, hset, type Change } from '../../core/audit/audit-log.ts';
import { NO_LIMITS, StoredLimits, type Limits } from './limits.ts';
import { runningLimitsChange } from './running-limits.ts';
import { Tenants, unlessUnreadable } from './tenant.store.ts';
import { WorkStops, type OpenWork } from './work-stops.ts';

const ApiKeyRecord = z.object({
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  tenant: z.string(),
  scopes: z.string().transform((text) => SCOPES.filter((scope) => text.split(' ').includes(scope))),
  name: z.string().default(''),
  createdAt: z.string(),
  expiresAt: z.string().optional(),
  revokedAt: z.string().optional(),
  limits: StoredLimits.default(NO_LIMITS),
  replacedBy: z.string().optional(),
  /** The keys before it, newest first: what they made is its own. */
  replaces: z
    .string()
    .transform((text) => text.split(' ').filter((id) => id !== ''))
    .default([]),
  /** The first key of those that replaced one another: they have one budget. */
  account: z.string().optional(),
});

/** A key without its secret. Times are ISO 8601, UTC. */
export interface ApiKeyFacts {
  readonly id: string;
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly name: string;
  readonly createdAt: string;
  readonly expiresAt: string | undefined;
  readonly revokedAt: string | undefined;
  readonly replacedBy: string | undefined;
  /** The ids of the keys that it replaces, newest first. */
  readonly replaces: readonly string[];
  /** The key whose budget this one has. */
  readonly account: string;
  readonly limits: Limits;
}

export interface NewKey {
  readonly tenant: string;
  readonly scopes: readonly Scope[];
  readonly name?: string | undefined;
  readonly expiresAt?: string | undefined;
  readonly limits?: Limits | undefined;
  readonly replaces?: readonly string[] | undefined;
  /** The key whose budget this one goes on with. */
  readonly account?: string | undefined;
}

/** A cached key is read again after this long; so soon does a revoked key stop working on every instance. */
const CACHE_MS = 1_000;
const CACHE_SIZE = 10_000;
/** Compared with where there is no record, so that an unknown key takes as long as a known one. */
const NO_HASH = '0'.repeat(64);
const UNKNOWN = 'There is no API key with this id.';
const MAX_LISTED = 1_000;
/** A key that was made: its text, which is stored nowhere, and its id. */
export type MadeKey = Pick<ReturnType<typeof newApiKey>, 'text' | 'keyId'>;

/** A key that was rotated more often than this no longer counts the work of the oldest as its own. */
const MAX_REPLACED = 100;
/** Rotations that are followed from a key to the one that is valid now. */
const MAX_SUCCESSORS = 100;

/** API keys in Redis, which holds only the hash of each secret. Any number of calls may run at once. */
@Injectable()
export class ApiKeys {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #audit: AuditLog;
  readonly #tenants: Tenants;
  readonly #stops: WorkStops;
  readonly #cache = new Map<string, { caller: Caller | undefined; at: number }>();

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
    this.#audit = new AuditLog(redis, keys);
    this.#tenants = new Tenants(redis, keys, this.#audit);
    this.#stops = new WorkStops(redis, keys);
  }

  /**
   * Makes a key. Returns its text, which is stored nowhere, and its id. `by` is named in the audit log.
   * Throws CodedErrors `request_invalid` for a scope that keys of the tenant cannot have, `tenant_deleted`.
   */
  async create(by: string, wanted: NewKey): Promise<MadeKey> {
    const { tenant, scopes, expiresAt, limits } = wanted;
    if (!mayHold(tenant, scopes))
      throw new CodedError('request_invalid', `Only keys of the tenant ${HOUSE} can have the scope operator.`);
    await this.#requireTenant(tenant);
    const made = newApiKey();
    await this.#audit.with(
      // No name: people write into it what is to go with the tenant, and this log is kept.
      { by, action: 'key.create', target: made.keyId, tenant, detail: { scopes, expiresAt, limits } },
      this.#makes(made, wanted),
    );
    return { text: made.text, keyId: made.keyId };
  }

  async #requireTenant(tenant: string): Promise<void> {
    if ((await this.#tenants.find(tenant))?.deletingAt !== undefined)
      throw new CodedError('tenant_deleted', 'This tenant is deleted, or is being deleted.');
  }

  /** What makes a key. */
  #makes({ keyId, hash }: ReturnType<typeof newApiKey>, wanted: NewKey): Change[] {
    const { tenant, scopes, name, expiresAt, limits, replaces, account } = wanted;
    return [
      hset(this.#keys.apiKey(keyId), {
        hash,
        tenant,
        scopes: scopes.join(' '),
        createdAt: new Date().toISOString(),
        name,
        expiresAt,
        limits: limits === undefined ? undefined : JSON.stringify(limits),
        replaces: replaces?.join(' '),
        account,
      }),
      ['ZADD', this.#keys.apiKeys, Date.now(), keyId],
      runningLimitsChange(this.#keys, { tenant, key: { id: keyId, account: account ?? keyId } }, limits ?? NO_LIMITS),
    ];
  }

  /** Throws CodedError `key_not_found`. */
  async get(keyId: string): Promise<ApiKeyFacts> {
    const found = /^[0-9a-f]{16}$/.test(keyId) ? await this.#read(keyId) : undefined;
    if (found === undefined) throw new CodedError('key_not_found', UNKNOWN);
    return found;
  }

  /** Those of these that are ids of keys, valid or not, of any tenant. */
  async among(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const scores = ids.length === 0 ? [] : await this.#redis.zmscore(this.#keys.apiKeys, ...ids);
    return new Set(ids.filter((_, at) => scores[at] !== null && scores[at] !== undefined));
  }

  /** A tenant's key. Throws CodedError `key_not_found`. */
  async getOf(tenant: string, keyId: string): Promise<ApiKeyFacts> {
    const found = await this.get(keyId);
    if (found.tenant !== tenant) throw new CodedError('key_not_found', UNKNOWN);
    return found;
  }

  /**
   * Ends a key at once, and says what becomes of the work that it made. Doing it again can still stop what
   * was kept before; the time of the first stays. Throws CodedError `key_not_found`.
   */
  async revoke(by: string, keyId: string, work: OpenWork = 'keep'): Promise<void> {
    const { tenant, revokedAt } = await this.get(keyId);
    await this.#audit.with({ by, action: 'key.revoke', target: keyId, tenant, detail: { work } }, [
      hset(this.#keys.apiKey(keyId), { revokedAt: revokedAt ?? new Date().toISOString() }),
      this.#stops.wish(work, { tenant, keyId }),
    ]);
  }

  /** Replaces the limits of a key, or its name. Throws CodedErrors `key_not_found`, `key_over`. */
  async change(
    by: string,
    keyId: string,
    change: { limits?: Limits | undefined; name?: string | undefined },
  ): Promise<ApiKeyFacts> {
    const { tenant, revokedAt, account } = await this.get(keyId);
    if (revokedAt !== undefined) throw new CodedError('key_over', 'This API key was revoked.');
    const { limits, name } = change;
    if (limits !== undefined || name !== undefined)
      await this.#audit.with({ by, action: 'key.change', target: keyId, tenant, detail: { limits } }, [
        hset(this.#keys.apiKey(keyId), { limits: limits && JSON.stringify(limits), name }),
        ...(limits === undefined
          ? []
          : [runningLimitsChange(this.#keys, { tenant, key: { id: keyId, account } }, limits)]),
      ]);
    return this.get(keyId);
  }

  /**
   * Makes a new key like this one, which ends after the overlap. The new one is the same key for budgets and
   * limits, and ends when this one would have ended. Of many who rotate a key at once, one does. Throws
   * CodedErrors `key_not_found`, `key_over`, `tenant_deleted`.
   */
  async rotate(by: string, keyId: string, overlapMs: number): Promise<MadeKey> {
    const old = await this.get(keyId);
    if (old.expiresAt !== undefined && Date.parse(old.expiresAt) <= Date.now())
      throw new CodedError('key_over', 'This API key has expired.');
    const { tenant, scopes, name, limits, account, expiresAt: end } = old;
    await this.#requireTenant(tenant);
    const replaces = [keyId, ...old.replaces].slice(0, MAX_REPLACED);
    const made = newApiKey();
    const ends = new Date(Date.now() + overlapMs).toISOString();
    const expiresAt = old.expiresAt !== undefined && old.expiresAt < ends ? old.expiresAt : ends;
    const isDone = await this.#audit.with(
      { by, action: 'key.rotate', target: keyId, tenant, detail: { replacedBy: made.keyId, expiresAt } },
      [
        // It ends when the old one would have ended: nobody gets more time by rotating.
        ...this.#makes(made, { tenant, scopes, name, limits, replaces, account, expiresAt: end }),
        hset(this.#keys.apiKey(keyId), { expiresAt, replacedBy: made.keyId }),
      ],
      this.#keys.apiKey(keyId),
      ['revokedAt', 'replacedBy'],
    );
    if (!isDone) throw new CodedError('key_over', 'This API key was revoked or replaced already.');
    return { text: made.text, keyId: made.keyId };
  }

  /** The newest 1,000 keys, of all tenants or of one, without secrets, but those that cannot be read. */
  async list(tenant?: string): Promise<ApiKeyFacts[]> {
    const listed: ApiKeyFacts[] = [];
    // Until there are enough, so that the keys of one tenant push none of another's out of its list.
    let end = await this.#redis.zcard(this.#keys.apiKeys);
    for (; end > 0 && listed.length < MAX_LISTED; end -= MAX_LISTED) {
      const ids = await this.#redis.zrange(this.#keys.apiKeys, String(Math.max(0, end - MAX_LISTED)), String(end - 1));
      const found = await Promise.all(ids.map((id) => this.#read(id).catch(unlessUnreadable)));
      listed.unshift(
        ...found.filter((key) => key !== undefined).filter((key) => (tenant ?? key.tenant) === key.tenant),
      );
    }
    return listed.slice(-MAX_LISTED);
  }

  /** The holder of a valid key, or undefined. An unknown key costs as much work as a known one. */
  async authenticate(text: string): Promise<Caller | undefined> {
    const presented = parseApiKey(text);
    if (presented === undefined) return undefined;
    const cacheKey = `${presented.keyId}:${presented.hash}`;
    const cached = this.#cache.get(cacheKey);
    const now = performance.now();
    if (cached !== undefined && now - cached.at < CACHE_MS) return cached.caller;
    const record = ApiKeyRecord.safeParse(await this.#redis.hgetall(this.#keys.apiKey(presented.keyId)));
    const matches = hashesEqual(record.success ? record.data.hash : NO_HASH, presented.hash);
    const caller = record.success && matches ? await this.#callerOf(presented.keyId, record.data) : undefined;
    if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
    this.#cache.set(cacheKey, { caller, at: now });
    return caller;
  }

  /** The limits in force for work that a key began, whether or not the key still works. */
  async limitsOf(tenant: string, keyId: string): Promise<Caller['limits']> {
    const [own, key] = await Promise.all([this.#tenants.find(tenant), this.#read(keyId)]);
    return { tenant: own?.limits ?? NO_LIMITS, key: key?.limits ?? NO_LIMITS, account: key?.account };
  }

  /**
   * For whom work is submitted that a key asked for to be done later; or, as a sentence, why it may not be. A
   * key that was replaced is followed to the one that is valid.
   */
  async standing(
    tenant: string,
    keyId: string,
  ): Promise<{ readonly submitter: Pick<Caller, 'tenant' | 'keyId' | 'limits'> } | { readonly barred: string }> {
    const own = await this.#tenants.find(tenant);
    if (own?.disabledAt !== undefined) return { barred: 'The tenant is disabled.' };
    let key = await this.#read(keyId);
    for (let steps = 0; key?.replacedBy !== undefined && steps < MAX_SUCCESSORS; steps += 1)
      key = await this.#read(key.replacedBy);
    if (key?.tenant !== tenant) return { barred: 'The API key that this was asked for with is gone.' };
    if (key.revokedAt !== undefined) return { barred: `The API key ${key.id} was revoked.` };
    if (key.expiresAt !== undefined && Date.parse(key.expiresAt) <= Date.now())
      return { barred: `The API key ${key.id} has expired.` };
    const limits = { tenant: own?.limits ?? NO_LIMITS, key: key.limits, account: key.account };
    return { submitter: { tenant, keyId: key.id, limits } };
  }

  /** Whether a key may be used now; true for the id of no key, whose holder is known by other means. */
  async isValid(keyId: string): Promise<boolean> {
    return !/^[0-9a-f]{16}$/.test(keyId) || (await this.#holder(keyId)) !== undefined;
  }

  /**
   * The holder of a key who has shown it before; undefined where it is valid no more. What a second ago was
   * true is good enough, as it is in `authenticate`.
   */
  async holder(keyId: string): Promise<Caller | undefined> {
    const cached = this.#cache.get(keyId);
    const now = performance.now();
    if (cached !== undefined && now - cached.at < CACHE_MS) return cached.caller;
    const caller = await this.#holder(keyId);
    if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
    this.#cache.set(keyId, { caller, at: now });
    return caller;
  }

  async #holder(keyId: string): Promise<Caller | undefined> {
    const record = ApiKeyRecord.safeParse(await this.#redis.hgetall(this.#keys.apiKey(keyId)));
    return record.success ? this.#callerOf(keyId, record.data) : undefined;
  }

  /** A caller who is identified by other means than an API key; undefined if the tenant is disabled. */
  async callerWithout(tenant: string, keyId: string, scopes: readonly Scope[]): Promise<Caller | undefined> {
    const own = await this.#tenants.find(tenant);
    if (own?.disabledAt !== undefined) return undefined;
    return {
      tenant,
      scopes: new Set(scopes),
      keyId,
      ownKeys: new Set([keyId]),
      expiresAt: undefined,
      limits: { tenant: own?.limits ?? NO_LIMITS, key: NO_LIMITS },
    };
  }

  async #callerOf(keyId: string, record: z.infer<typeof ApiKeyRecord>): Promise<Caller | undefined> {
    const isExpired = record.expiresAt !== undefined && Date.parse(record.expiresAt) <= Date.now();
    if (record.revokedAt !== undefined || isExpired) return undefined;
    const tenant = await this.#tenants.find(record.tenant);
    if (tenant?.disabledAt !== undefined) return undefined;
    return {
      tenant: record.tenant,
      // Whoever can write a record of a key can still not make an operator of a tenant's key.
      scopes: new Set(record.scopes.filter((scope) => mayHold(record.tenant, [scope]))),
      keyId,
      ownKeys: new Set([keyId, ...record.replaces]),
      expiresAt: record.expiresAt,
      limits: { tenant: tenant?.limits ?? NO_LIMITS, key: record.limits, account: record.account },
    };
  }

  async #read(id: string): Promise<ApiKeyFacts | undefined> {
    const stored = await this.#redis.hgetall(this.#keys.apiKey(id));
    if (Object.keys(stored).length === 0) return undefined;
    const record = ApiKeyRecord.safeParse(stored);
    if (!record.success) throw new CodedError('record_unreadable', `The record of the API key ${id} cannot be read.`);
    const { tenant, scopes, name, createdAt, expiresAt, revokedAt } = record.data;
    const { replacedBy, replaces, limits, account = id } = record.data;
    return { id, tenant, scopes, name, createdAt, expiresAt, revokedAt, replacedBy, replaces, limits, account };
  }
}
