import { z } from 'zod';

/** The media type under which a statement about a closed period is signed, by the key that signs tickets. */
export const CLOSED_PERIOD_TYPE = 'application/vnd.countersign.ledger-period+json';

const File = z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.int().min(0) });

/**
 * What a tenant's ledger of a month came to when it was closed: what it was exported as, and its sums. The
 * log holds a digest of the statement.
 */
export const ClosedPeriod = z.strictObject({
  tenant: z.string(),
  /** Such as `2026-11`, UTC. */
  month: z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/),
  entries: z.int().min(1),
  /** What was charged, in millionths, by currency. */
  sums: z.array(z.strictObject({ currency: z.string(), charged: z.int().min(0) })),
  jsonl: File,
  csv: File,
});
export type ClosedPeriod = z.infer<typeof ClosedPeriod>;
