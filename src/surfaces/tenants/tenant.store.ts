import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { AuditLog } from './audit-log.ts';
import { NO_LIMITS, StoredTenantLimits, type TenantLimits } from './limits.ts';

const TenantRecord = z.object({
  createdAt: z.string(),
  disabledAt: z.string().optional(),
  limits: StoredTenantLimits.default(NO_LIMITS),
});

export interface Tenant {
  readonly name: string;
  readonly createdAt: string;
  readonly disabledAt: string | undefined;
  readonly limits: TenantLimits;
}

const MAX_LISTED = 10_000;

/** Tenants by name. A change and its audit entry are written together. */
@Injectable()
export class Tenants {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #audit: AuditLog;

  constructor(redis: Redis, keys: RedisKeys, audit: AuditLog) {
    this.#redis = redis;
    this.#keys = keys;
    this.#audit = audit;
  }

  /** Makes a tenant. Of two calls at once with one name, one throws CodedError `tenant_exists`. */
  async create(by: string, name: string, limits: TenantLimits): Promise<Tenant> {
    const createdAt = new Date().toISOString();
    if ((await this.#redis.hsetnx(this.#keys.tenant(name), 'createdAt', createdAt)) === 0)
      throw new CodedError('tenant_exists', `There is a tenant named ${name} already.`);
    await this.#audit.with(by, 'tenant.create', name, { limits }, (multi) =>
      multi.hset(this.#keys.tenant(name), { limits: JSON.stringify(limits) }).sadd(this.#keys.tenants, name),
    );
    return { name, createdAt, disabledAt: undefined, limits };
  }

  /** Throws CodedError `tenant_not_found`. */
  async get(name: string): Promise<Tenant> {
    const found = await this.find(name);
    if (found === undefined) throw new CodedError('tenant_not_found', 'There is no tenant of this name.');
    return found;
  }

  /**
   * The tenant, or undefined. A tenant exists only if it was created; a key may name one that was not. Throws
   * CodedError `record_unreadable`: what cannot be read is no tenant without limits.
   */
  async find(name: string): Promise<Tenant | undefined> {
    const stored = await this.#redis.hgetall(this.#keys.tenant(name));
    if (Object.keys(stored).length === 0) return undefined;
    const parsed = TenantRecord.safeParse(stored);
    if (!parsed.success) throw new CodedError('record_unreadable', `The record of the tenant ${name} cannot be read.`);
    const { createdAt, disabledAt, limits } = parsed.data;
    return { name, createdAt, disabledAt, limits };
  }

  /** All tenants, sorted by name, but those whose records cannot be read. */
  async list(): Promise<Tenant[]> {
    const names = (await this.#redis.smembers(this.#keys.tenants)).toSorted().slice(0, MAX_LISTED);
    return (await Promise.all(names.map((name) => this.find(name).catch(unlessUnreadable)))).filter(
      (tenant) => tenant !== undefined,
    );
  }

  /**
   * Changes limits or locks a tenant out: its keys stop working within seconds, and its jobs go on. Throws
   * CodedError `tenant_not_found`.
   */
  async change(
    by: string,
    name: string,
    change: { limits?: TenantLimits | undefined; disabled?: boolean | undefined },
  ): Promise<Tenant> {
    await this.get(name);
    const key = this.#keys.tenant(name);
    await this.#audit.with(by, 'tenant.change', name, change, (multi) => {
      if (change.limits !== undefined) multi.hset(key, { limits: JSON.stringify(change.limits) });
      if (change.disabled === true) multi.hset(key, { disabledAt: new Date().toISOString() });
      if (change.disabled === false) multi.hdel(key, 'disabledAt');
      return multi;
    });
    return this.get(name);
  }
}

/** Of a list, one record that cannot be read takes nothing from the others. */
export function unlessUnreadable(error: unknown): undefined {
  if (error instanceof CodedError && error.code === 'record_unreadable') return undefined;
  throw error;
}
