import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { HOUSE } from './api-key.ts';
import { AuditLog, hset } from '../../core/audit/audit-log.ts';
import { NO_LIMITS, StoredTenantLimits, type TenantLimits } from './limits.ts';
import { runningLimitsChange } from './running-limits.ts';
import { WorkStops, type OpenWork } from './work-stops.ts';

const TenantRecord = z.object({
  createdAt: z.string(),
  disabledAt: z.string().optional(),
  /** Since when it is being deleted, or is. */
  deletingAt: z.string().optional(),
  limits: StoredTenantLimits.default(NO_LIMITS),
});

export interface Tenant {
  readonly name: string;
  readonly createdAt: string;
  readonly disabledAt: string | undefined;
  /** Since when it is being deleted, or is; its name is not given again. */
  readonly deletingAt: string | undefined;
  readonly limits: TenantLimits;
}

const MAX_LISTED = 10_000;

/** Tenants by name. A change and its audit entry are written together. */
@Injectable()
export class Tenants {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #audit: AuditLog;
  readonly #stops: WorkStops;

  constructor(redis: Redis, keys: RedisKeys, audit: AuditLog) {
    this.#redis = redis;
    this.#keys = keys;
    this.#audit = audit;
    this.#stops = new WorkStops(redis, keys);
  }

  /** Makes a tenant. Of two calls at once with one name, one throws CodedError `tenant_exists`. */
  async create(by: string, name: string, limits: TenantLimits): Promise<Tenant> {
    const createdAt = new Date().toISOString();
    const isMade = await this.#audit.with(
      { by, action: 'tenant.create', target: name, tenant: name, detail: { limits } },
      [
        hset(this.#keys.tenant(name), { createdAt, limits: JSON.stringify(limits) }),
        ['SADD', this.#keys.tenants, name],
        runningLimitsChange(this.#keys, { tenant: name }, limits),
      ],
      this.#keys.tenant(name),
    );
    if (!isMade) throw new CodedError('tenant_exists', `There is a tenant named ${name} already.`);
    return { name, createdAt, disabledAt: undefined, deletingAt: undefined, limits };
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
    const { createdAt, disabledAt, deletingAt, limits } = parsed.data;
    // Who unlocks it at the moment at which its deletion is asked for unlocks nothing.
    return { name, createdAt, disabledAt: disabledAt ?? deletingAt, deletingAt, limits };
  }

  /** All tenants, sorted by name, but those whose records cannot be read. */
  async list(): Promise<Tenant[]> {
    const names = (await this.#redis.smembers(this.#keys.tenants)).toSorted().slice(0, MAX_LISTED);
    return (await Promise.all(names.map((name) => this.find(name).catch(unlessUnreadable)))).filter(
      (tenant) => tenant !== undefined,
    );
  }

  /**
   * Changes limits or locks a tenant out: its keys stop working within seconds, and `work` says what becomes
   * of its open work; unless said otherwise its jobs go on and its batches stop. Throws CodedErrors
   * `tenant_not_found`, `tenant_deleted`, and `request_invalid` for locking the operator out.
   */
  async change(
    by: string,
    name: string,
    change: { limits?: TenantLimits | undefined; disabled?: boolean | undefined; work?: OpenWork | undefined },
  ): Promise<Tenant> {
    if (name === HOUSE && change.disabled === true)
      throw new CodedError('request_invalid', 'The tenant of the operator cannot be disabled.');
    if ((await this.get(name)).deletingAt !== undefined)
      throw new CodedError('tenant_deleted', 'This tenant is deleted, or is being deleted.');
    const key = this.#keys.tenant(name);
    const { limits, disabled } = change;
    const work = disabled === true ? (change.work ?? 'drain') : disabled === false ? 'keep' : undefined;
    await this.#audit.with({ by, action: 'tenant.change', target: name, tenant: name, detail: change }, [
      ...(limits === undefined
        ? []
        : [hset(key, { limits: JSON.stringify(limits) }), runningLimitsChange(this.#keys, { tenant: name }, limits)]),
      ...(disabled === true ? [hset(key, { disabledAt: new Date().toISOString() })] : []),
      ...(disabled === false ? [['HDEL', key, 'disabledAt']] : []),
      ...(work === undefined ? [] : [this.#stops.wish(work, { tenant: name })]),
    ]);
    return this.get(name);
  }
}

/** Of a list, one record that cannot be read takes nothing from the others. */
export function unlessUnreadable(error: unknown): undefined {
  if (error instanceof CodedError && error.code === 'record_unreadable') return undefined;
  throw error;
}
