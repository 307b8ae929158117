import { z } from 'zod';
import type { Price } from '../../proof/receipts/statements.ts';

/**
 * The kinds of ledger entries. A job that has a price has one `hold` from its admission on, and exactly one
 * `charge` or `release` once it is final. All of them are filed under the month in which the job was made, so
 * that none can be written twice.
 */
export const KINDS = ['hold', 'charge', 'release'] as const;
export type Kind = (typeof KINDS)[number];

/** One entry of a tenant's ledger, as it is stored. */
export const LedgerEntry = z.strictObject({
  /** ISO 8601, UTC. */
  at: z.string(),
  /** Millionths of the currency. */
  amount: z.number().int().min(0),
  currency: z.string(),
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

/** The entry of an admission: the most that the job can cost. */
export function holdEntry(atMs: number, key: string, model: string, price: Price): LedgerEntry {
  return entry(atMs, price.hold, key, model, price);
}

/** An entry of a job with this price. `amount` is in millionths of the currency. */
export function entry(atMs: number, amount: number, key: string, model: string, price: Price): LedgerEntry {
  return {
    at: new Date(atMs).toISOString(),
    amount,
    currency: price.currency,
    key,
    model,
    table: price.table.id,
  };
}
