import { z } from 'zod';
import type { Price } from '../../proof/receipts/statements.ts';

/**
 * The kinds of ledger entries. A job that has a price has exactly one, once it has ended: a `charge` if it is
 * done, else a `release`, which is of nothing. What open jobs may still cost stands in the account.
 */
export const KINDS = ['charge', 'release'] as const;

/** One entry of a tenant's ledger, as it is stored. */
export const LedgerEntry = z.strictObject({
  kind: z.enum(KINDS),
  /** When the job ended: ISO 8601, UTC. */
  at: z.iso.datetime(),
  /** Millionths of the currency. */
  amount: z.int().min(0),
  currency: z.string().regex(/^[A-Z]{3,8}$/),
  /** Id of the API key that submitted the job. */
  key: z.string(),
  model: z.string(),
  /** Id of the price table. */
  table: z.string(),
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;

/** The UTC month of a time in ms, such as `2026-11`. */
export function monthOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 7);
}

/** The UTC day of a time in ms, such as `2026-11-21`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The entry of a job with this price. `amount` is in millionths of the currency. */
export function ledgerEntry(
  {
    kind,
    atMs,
    amount,
    key,
    model,
  }: Pick<LedgerEntry, 'kind' | 'amount' | 'key' | 'model'> & { readonly atMs: number },
  price: Price,
): LedgerEntry {
  return {
    kind,
    at: new Date(atMs).toISOString(),
    amount,
    currency: price.currency,
    key,
    model,
    table: price.table.id,
  };
}
