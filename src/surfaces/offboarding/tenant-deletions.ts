import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { AuditLog, hset, type Change } from '../../core/audit/audit-log.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { HOUSE } from '../tenants/api-key.ts';
import { WorkStops } from '../tenants/work-stops.ts';

/** The steps of a deletion, in their order. */
export const DELETION_STEPS = [
  'work',
  'jobs',
  'archive',
  'files',
  'batches',
  'schedules',
  'webhooks',
  'memories',
  'history',
  'keys',
  'erasures',
] as const;
export type DeletionStep = (typeof DELETION_STEPS)[number];

/** How much went, by kind. */
export const Removed = z.strictObject({
  jobs: z.int(),
  files: z.int(),
  file_bytes: z.int(),
  batches: z.int(),
  schedules: z.int(),
  webhooks: z.int(),
  webhook_messages: z.int(),
  owners: z.int().default(0).describe('whose memories were kept'),
  keys: z.int(),
});
export type Removed = z.infer<typeof Removed>;

const NOTHING: Removed = {
  jobs: 0,
  files: 0,
  file_bytes: 0,
  batches: 0,
  schedules: 0,
  webhooks: 0,
  webhook_messages: 0,
  owners: 0,
  keys: 0,
};

/**
 * How far a deletion is. `at` is where its step goes on: a rank, a tile, or the end that is waited for;
 * undefined at the step's beginning.
 */
export const DeletionState = z.strictObject({
  by: z.string(),
  askedMs: z.number(),
  step: z.enum(DELETION_STEPS),
  at: z.number().optional(),
  removed: Removed,
});
export type DeletionState = z.infer<typeof DeletionState>;

/** A deletion that is under way or over. */
export interface Deletion {
  readonly tenant: string;
  /** Undefined once it is over. */
  readonly state: DeletionState | undefined;
  /** The signed account, in its stored form; undefined until it is over. */
  readonly account: string | undefined;
}

/** Wishes to delete tenants, and how far each is. Any number of calls may run at once. */
@Injectable()
export class TenantDeletions {
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

  /**
   * Locks the tenant out for good and asks for all that is its to be removed; asking again changes nothing.
   * Throws CodedErrors `tenant_not_found`, and `request_invalid` for the operator's own tenant.
   */
  async ask(by: string, tenant: string): Promise<Deletion> {
    if (tenant === HOUSE) throw new CodedError('request_invalid', 'The tenant of the operator cannot be deleted.');
    const known = await this.#redis.hget(this.#keys.tenant(tenant), 'deletingAt');
    if (known !== null) return this.get(tenant);
    if ((await this.#redis.exists(this.#keys.tenant(tenant))) === 0) throw notFound();
    const [askedMs, askedAt] = [Date.now(), new Date().toISOString()];
    const state: DeletionState = { by, askedMs, step: 'work', removed: NOTHING };
    await this.#audit.with({ by, action: 'tenant.delete', target: tenant, tenant, detail: {} }, [
      hset(this.#keys.tenant(tenant), { deletingAt: askedAt, disabledAt: askedAt }),
      this.#stops.wish('stop', { tenant }),
      ['HSETNX', this.#keys.tenantDeletions, tenant, JSON.stringify(state)],
    ]);
    return this.get(tenant);
  }

  /** Throws CodedError `tenant_not_found` where nobody asked for this tenant's deletion. */
  async get(tenant: string): Promise<Deletion> {
    const [deletingAt, account] = await this.#redis.hmget(this.#keys.tenant(tenant), 'deletingAt', 'account');
    if (typeof deletingAt !== 'string') throw notFound();
    const state = await this.state(tenant);
    return { tenant, state, account: account ?? undefined };
  }

  /** The tenants whose deletion is under way. */
  underWay(): Promise<string[]> {
    return this.#redis.hkeys(this.#keys.tenantDeletions);
  }

  /** How far a deletion is; undefined where it is over, or nobody asked for it. */
  async state(tenant: string): Promise<DeletionState | undefined> {
    const text = await this.#redis.hget(this.#keys.tenantDeletions, tenant);
    return text === null ? undefined : DeletionState.parse(JSON.parse(text));
  }

  /** The change that writes how far a deletion is. */
  written(tenant: string, state: DeletionState): Change {
    return hset(this.#keys.tenantDeletions, { [tenant]: JSON.stringify(state) });
  }
}

const notFound = () => new CodedError('tenant_not_found', 'There is no tenant of this name that is being deleted.');
