import type { ClosedPeriods } from './closed-periods.store.ts';
import { ledgerText, type Format, type LedgerRow } from './ledger-lines.ts';
import type { UsageStore } from './usage.store.ts';

/** The ledgers of tenants by month: those that are closed from their exports, the others from Redis. */
export class Ledgers {
  readonly #usage: UsageStore;
  readonly #closed: ClosedPeriods;

  constructor(usage: UsageStore, closed: ClosedPeriods) {
    this.#usage = usage;
    this.#closed = closed;
  }

  /** The entries in pages. Throws CodedError `blob_missing` where an export is absent or was changed. */
  async *rows(tenant: string, month: string): AsyncGenerator<readonly LedgerRow[]> {
    const closed = await this.#closed.find(tenant, month);
    yield* closed === undefined ? this.#usage.ledger(tenant, month) : this.#closed.rows(closed.period);
  }

  /** The same as text, a piece at a time; of a closed month the very file whose digest was signed. */
  async *text(tenant: string, month: string, format: Format): AsyncGenerator<Buffer> {
    const closed = await this.#closed.find(tenant, month);
    if (closed !== undefined) yield* this.#closed.file(closed.period, format);
    else for await (const text of ledgerText(this.#usage.ledger(tenant, month), format)) yield Buffer.from(text);
  }
}
