import { z } from 'zod';

/**
 * What a tenant or a key may use; an absent limit does not limit. A key has its tenant's limits and its own,
 * and the tighter one applies. `spend` is in millionths of the price table's currency.
 */
export const Limits = z.strictObject({
  requests_per_minute: z.number().int().min(1).max(1_000_000).optional(),
  tokens_per_minute: z.number().int().min(1).max(1_000_000_000).optional(),
  concurrent_jobs: z.number().int().min(1).max(1_000_000).optional(),
  spend: z.number().int().min(0).max(1_000_000_000_000_000).optional(),
});
export type Limits = z.infer<typeof Limits>;

/** The limits of a tenant, and what its share of a full pool weighs against those of others: 1 if absent. */
export const TenantLimits = Limits.extend({ weight: z.number().int().min(1).max(1_000).optional() });
export type TenantLimits = z.infer<typeof TenantLimits>;

export const NO_LIMITS: Limits = {};
