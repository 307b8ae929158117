import { CLOSED_PERIOD_TYPE } from '../../proof/contract/closed-period.ts';
import { verifyPayload } from '../../proof/receipts/dsse.ts';
import { ChargeCheck, type ChargeCheckParts, type Findings } from './charge-check.ts';
import type { ClosedPeriods } from './closed-periods.store.ts';
import type { Ledgers } from './ledgers.ts';
import type { UsageStore } from './usage.store.ts';
import { monthOf } from './ledger-entry.ts';

/** The first month that any ledger can have. */
const FIRST_MONTH = { year: 2026, month: 1 };
/** As many problems are named; the others are counted. */
const MAX_PROBLEMS = 100;

/** Sums of a ledger, in millionths of one currency. */
interface Sums {
  readonly currency: string;
  readonly spent: number;
  readonly held: number;
}

export interface LedgerAudit {
  readonly tenant: string;
  readonly entries: number;
  /** Number of charges that were compared with the signed documents of their jobs. */
  readonly compared: number;
  readonly sums: readonly Sums[];
  /** What does not agree, one sentence each; empty if the ledger balances. */
  readonly problems: readonly string[];
}

export interface AuditParts extends ChargeCheckParts {
  readonly usage: UsageStore;
  readonly ledgers: Ledgers;
  readonly closed: ClosedPeriods;
}

/** The audit of one tenant's ledger. */
export async function auditLedger(parts: AuditParts, tenant: string): Promise<LedgerAudit> {
  const [audit] = await auditLedgers(parts, [tenant]);
  if (audit === undefined) throw new Error(`The ledger of ${tenant} was not audited.`);
  return audit;
}

/**
 * Audits the whole ledgers of tenants in one pass over them and over the archive, whatever their size with
 * the same memory. Every charge must be what the signed documents of its job come to, if Redis or the archive
 * still has them, and every receipt must have its one entry; of each currency, the entries of a month must
 * come to what was counted as spent in that month, all of them to what the account has spent, and what is
 * reserved for jobs whose end is not entered to what it holds. Run it at a quiet moment: a job that ends
 * meanwhile may look like a problem.
 */
export async function auditLedgers(parts: AuditParts, tenants: readonly string[]): Promise<LedgerAudit[]> {
  await using charges = await ChargeCheck.begin(parts);
  const books = new Map<string, Books>();
  for (const tenant of tenants) books.set(tenant, await readBooks(parts, tenant, charges));
  await charges.compare(books);
  return [...books.values()].map((one) => one.audit());
}

/** Adds up a ledger, compares its sums, and hands its entries on to be compared with receipts. */
async function readBooks(parts: AuditParts, tenant: string, charges: ChargeCheck): Promise<Books> {
  const books = new Books(tenant);
  const spent = new Map<string, number>();
  for (const month of monthsUntil(Date.now())) {
    const inMonth = new Map<string, number>();
    for await (const page of parts.ledgers.rows(tenant, month)) {
      books.entries += page.length;
      parts.hasRead?.(page.length);
      await charges.add(tenant, page);
      for (const { entry } of page) add(inMonth, entry.currency, entry.amount);
    }
    await compareClosed(parts, { tenant, month }, inMonth, books);
    for (const [currency, sum] of inMonth) {
      add(spent, currency, sum);
      const counted = await parts.usage.spentIn(tenant, month, currency);
      // What is older than that is counted in the account alone.
      if (counted !== sum && (counted !== 0 || month >= monthOf(Date.now() - COUNTED_MS)))
        books.isWrong(`${counted} ${currency} are counted as spent in ${month}, and the ledger says ${sum}.`);
    }
  }
  books.sums = await balance(parts, tenant, spent, books);
  return books;
}

/** Compares a month that is closed with what was signed of it. */
async function compareClosed(
  { closed, keyring }: AuditParts,
  { tenant, month }: { readonly tenant: string; readonly month: string },
  inMonth: ReadonlyMap<string, number>,
  books: Books,
): Promise<void> {
  const found = await closed.find(tenant, month);
  if (found === undefined) return;
  const { period, signed } = found;
  const key = keyring.of('api').find(({ id }) => id === signed.keyId);
  const isSigned = key !== undefined && verifyPayload(key, signed, CLOSED_PERIOD_TYPE);
  if (!isSigned || period.tenant !== tenant || period.month !== month)
    books.isWrong(`The statement about ${month} is not signed by a trusted key.`);
  const agrees = period.sums.every(({ currency, charged }) => (inMonth.get(currency) ?? 0) === charged);
  if (!agrees || inMonth.size !== period.sums.length) books.isWrong(`The statement about ${month} has other sums.`);
}

/** What is spent in a month is counted for so long after its last entry. */
const COUNTED_MS = 300 * 86_400_000;

/** Compares the accounts with what they must say, and returns their sums. */
async function balance(
  { usage }: AuditParts,
  tenant: string,
  spent: ReadonlyMap<string, number>,
  books: Books,
): Promise<Sums[]> {
  const accounts = await usage.accounts(tenant);
  const reserved = await usage.reserved(tenant);
  const currencies = new Set([...spent.keys(), ...reserved.keys(), ...accounts.map(({ currency }) => currency)]);
  return [...currencies].toSorted().map((currency) => {
    const account = accounts.find((one) => one.currency === currency) ?? { spent: 0, held: 0 };
    const sums = { currency, spent: spent.get(currency) ?? 0, held: reserved.get(currency) ?? 0 };
    if (account.spent !== sums.spent)
      books.isWrong(`The account says ${account.spent} ${currency} spent, and the ledger ${sums.spent}.`);
    if (account.held !== sums.held)
      books.isWrong(`The account says ${account.held} ${currency} held, and ${sums.held} are reserved for open jobs.`);
    return sums;
  });
}

/** What is found of one ledger, bounded: one that is wrong throughout is said to be so in a hundred lines. */
class Books implements Findings {
  entries = 0;
  sums: readonly Sums[] = [];
  readonly #tenant: string;
  readonly #problems: string[] = [];
  #compared = 0;
  #more = 0;

  constructor(tenant: string) {
    this.#tenant = tenant;
  }

  readonly isWrong = (problem: string): void => {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem);
    else this.#more += 1;
  };

  readonly isCompared = (): void => {
    this.#compared += 1;
  };

  audit(): LedgerAudit {
    const problems = this.#more === 0 ? this.#problems : [...this.#problems, `There are ${this.#more} more.`];
    return { tenant: this.#tenant, entries: this.entries, compared: this.#compared, sums: this.sums, problems };
  }
}

function add(sums: Map<string, number>, currency: string, amount: number): void {
  sums.set(currency, (sums.get(currency) ?? 0) + amount);
}

/** Months from the first one to that of `nowMs`, such as `2026-11`. */
function* monthsUntil(nowMs: number): Generator<string> {
  const last = monthOf(nowMs);
  for (let { year, month } = FIRST_MONTH; ; month += 1) {
    if (month > 12) [year, month] = [year + 1, 1];
    const name = `${year}-${String(month).padStart(2, '0')}`;
    yield name;
    if (name >= last) return;
  }
}
