import type { Change } from '../../core/audit/audit-log.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Limits } from './limits.ts';

/** Whose limits they are: a tenant's, or those of one of its keys, which counts as its account. */
export interface Holder {
  readonly tenant: string;
  readonly key?: { readonly id: string; readonly account: string };
}

/**
 * The change by which whoever releases jobs learns of these limits; see at-work.lua. It belongs into the step
 * that writes the limits themselves.
 */
export function runningLimitsChange({ runningLimits }: RedisKeys, { tenant, key }: Holder, limits: Limits): Change {
  const field = key === undefined ? tenant : `${tenant} ${key.id}`;
  const { running_jobs: all, running_jobs_per_model: each } = limits;
  if (all === undefined && each === undefined) return ['HDEL', runningLimits, field];
  return ['HSET', runningLimits, field, `${all ?? '-'} ${each ?? '-'} ${key?.account ?? '-'}`];
}
