import { z } from 'zod';
import type { Price } from '../../proof/receipts/statements.ts';

/**
 * Entries of the ledger. A job that costs something has one `hold`, and when it is final exactly one of `charge` and `release`.
 * All stand in the month in which the job was made, so that none can be written twice.
 */
export const KINDS = ['hold', 'charge', 'release'] as const;
export type Kind = (typeof KINDS)[number];

export const LedgerEntry = z.strictObject({
  at: z.string(),
  /** Millionths of the currency. */
  amount: z.number().int().min(0),
  currency: z.string(),
  key: z.string(),
  model: z.string(),
  table: z.string(),
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;

export function monthOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 7);
}

export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

export function holdEntry(atMs: number, key: string, model: string, price: Price): LedgerEntry {
  return entry(atMs, price.hold, key, model, price);
}

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
