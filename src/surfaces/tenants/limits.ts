import { z } from 'zod';

const PerMinute = z.number().int().min(1);
/** Jobs that workers have at once; what is beyond it waits, and is not refused. */
const AtOnce = z.number().int().min(1).max(100_000);
/** Redis and JSON count exactly up to here. */
const Whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/**
 * Budgets: what may be spent of a unit in all, in a month or on a day, UTC. `money` is in millionths, in each
 * currency by itself; `requests` are those that made jobs.
 */
export const BUDGETS = [
  { name: 'spend', unit: 'money', span: 'total' },
  { name: 'spend_per_month', unit: 'money', span: 'month' },
  { name: 'spend_per_day', unit: 'money', span: 'day' },
  { name: 'tokens', unit: 'tokens', span: 'total' },
  { name: 'tokens_per_month', unit: 'tokens', span: 'month' },
  { name: 'tokens_per_day', unit: 'tokens', span: 'day' },
  { name: 'requests', unit: 'requests', span: 'total' },
  { name: 'requests_per_month', unit: 'requests', span: 'month' },
  { name: 'requests_per_day', unit: 'requests', span: 'day' },
] as const;

/**
 * What a tenant or a key may use; an absent limit does not limit. A key has its tenant's limits and its own,
 * and the tighter one applies. What cannot be counted exactly is refused.
 */
export const Limits = z.strictObject({
  requests_per_minute: PerMinute.max(1_000_000).optional(),
  tokens_per_minute: PerMinute.max(1_000_000_000).optional(),
  concurrent_jobs: z.number().int().min(1).max(1_000_000).optional(),
  running_jobs: AtOnce.optional(),
  running_jobs_per_model: AtOnce.optional(),
  spend: Whole.optional(),
  spend_per_month: Whole.optional(),
  spend_per_day: Whole.optional(),
  tokens: Whole.optional(),
  tokens_per_month: Whole.optional(),
  tokens_per_day: Whole.optional(),
  requests: Whole.optional(),
  requests_per_month: Whole.optional(),
  requests_per_day: Whole.optional(),
});
export type Limits = z.infer<typeof Limits>;

/**
 * The limits of a tenant; the bytes that all its files may have, 20 GiB if absent; and what its share of a
 * full pool weighs against those of others, 1 if absent.
 */
export const TenantLimits = Limits.extend({
  file_bytes: Whole.optional(),
  weight: z.number().int().min(1).max(1_000).optional(),
});
export type TenantLimits = z.infer<typeof TenantLimits>;

export const NO_LIMITS: Limits = {};

/** Limits as they are stored. Text that does not say exactly what is limited is refused. */
export const StoredLimits = stored(Limits);
export const StoredTenantLimits = stored(TenantLimits);

function stored<Stored>(schema: z.ZodType<Stored>) {
  return z.string().transform((text, context): Stored => {
    const parsed = schema.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    context.addIssue({ code: 'custom', message: 'these are no limits' });
    return z.NEVER;
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
