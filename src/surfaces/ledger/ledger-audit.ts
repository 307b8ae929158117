import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { JobReader } from '../../core/jobs/job.reader.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { Evidence, Ticket, Verdict } from '../../proof/receipts/statements.ts';
import { CLOSED_PERIOD_TYPE } from '../../proof/contract/closed-period.ts';
import type { ClosedPeriods } from './closed-periods.store.ts';
import type { Ledgers } from './ledgers.ts';
import type { UsageStore } from './usage.store.ts';
import { monthOf, type LedgerEntry } from './ledger-entry.ts';

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

interface AuditParts {
  readonly reader: JobReader;
  readonly usage: UsageStore;
  readonly ledgers: Ledgers;
  readonly closed: ClosedPeriods;
  readonly keyring: Keyring;
  /** Hears how many more entries were looked at. */
  readonly hasRead?: (entries: number) => void;
}

/**
 * Audits a tenant's whole ledger in one pass, a page in memory at a time. Every charge must be what the
 * signed documents of its job come to, if they are still kept; of each currency, the entries of a month must
 * come to what was counted as spent in that month, all of them to what the account has spent, and what is
 * reserved for jobs whose end is not entered to what it holds. Run it at a quiet moment: a job that ends
 * meanwhile may look like a problem.
 */
export async function auditLedger(parts: AuditParts, tenant: string): Promise<LedgerAudit> {
  const problems = new Problems();
  const spent = new Map<string, number>();
  let [entries, compared] = [0, 0];
  for (const month of monthsUntil(Date.now())) {
    const inMonth = new Map<string, number>();
    for await (const page of parts.ledgers.rows(tenant, month)) {
      entries += page.length;
      parts.hasRead?.(page.length);
      compared += await comparePage(parts, page, problems);
      for (const { entry } of page) add(inMonth, entry.currency, entry.amount);
    }
    await compareClosed(parts, { tenant, month }, inMonth, problems);
    for (const [currency, sum] of inMonth) {
      add(spent, currency, sum);
      const counted = await parts.usage.spentIn(tenant, month, currency);
      // What is older than that is counted in the account alone.
      if (counted !== sum && (counted !== 0 || month >= monthOf(Date.now() - COUNTED_MS)))
        problems.add(`${counted} ${currency} are counted as spent in ${month}, and the ledger says ${sum}.`);
    }
  }
  return { tenant, entries, compared, sums: await balance(parts, tenant, spent, problems), problems: problems.all() };
}

/** Compares a month that is closed with what was signed of it. */
async function compareClosed(
  { closed, keyring }: AuditParts,
  { tenant, month }: { readonly tenant: string; readonly month: string },
  inMonth: ReadonlyMap<string, number>,
  problems: Problems,
): Promise<void> {
  const found = await closed.find(tenant, month);
  if (found === undefined) return;
  const { period, signed } = found;
  const key = keyring.of('api').find(({ id }) => id === signed.keyId);
  const isSigned = key !== undefined && verifyPayload(key, signed, CLOSED_PERIOD_TYPE);
  if (!isSigned || period.tenant !== tenant || period.month !== month)
    problems.add(`The statement about ${month} is not signed by a trusted key.`);
  const agrees = period.sums.every(({ currency, charged }) => (inMonth.get(currency) ?? 0) === charged);
  if (!agrees || inMonth.size !== period.sums.length) problems.add(`The statement about ${month} has other sums.`);
}

/** What is spent in a month is counted for so long after its last entry. */
const COUNTED_MS = 300 * 86_400_000;

/** Compares the accounts with what they must say, and returns their sums. */
async function balance(
  { usage }: AuditParts,
  tenant: string,
  spent: ReadonlyMap<string, number>,
  problems: Problems,
): Promise<Sums[]> {
  const accounts = await usage.accounts(tenant);
  const reserved = await usage.reserved(tenant);
  const currencies = new Set([...spent.keys(), ...reserved.keys(), ...accounts.map(({ currency }) => currency)]);
  return [...currencies].toSorted().map((currency) => {
    const account = accounts.find((one) => one.currency === currency) ?? { spent: 0, held: 0 };
    const sums = { currency, spent: spent.get(currency) ?? 0, held: reserved.get(currency) ?? 0 };
    if (account.spent !== sums.spent)
      problems.add(`The account says ${account.spent} ${currency} spent, and the ledger ${sums.spent}.`);
    if (account.held !== sums.held)
      problems.add(`The account says ${account.held} ${currency} held, and ${sums.held} are reserved for open jobs.`);
    return sums;
  });
}

/** Compares entries with the documents of their jobs, as far as they are kept. Returns how many were. */
async function comparePage(
  parts: AuditParts,
  page: readonly { readonly job: string; readonly entry: LedgerEntry }[],
  problems: Problems,
): Promise<number> {
  const owed = await Promise.all(page.map(({ job }) => owedFor(parts, job)));
  return page.filter(({ job, entry: { kind, amount } }, at) => {
    const due = owed[at];
    if (kind === 'release' && amount !== 0) problems.add(`${job} was released, and charged ${amount}.`);
    if (due === undefined) return false;
    if (kind !== 'charge') problems.add(`${job} is not charged and its receipt comes to ${due}.`);
    else if (amount !== due) problems.add(`${job} is charged ${amount} and its receipt comes to ${due}.`);
    return true;
  }).length;
}

/** What was found, bounded: a ledger that is wrong throughout is said to be so in a hundred lines. */
class Problems {
  readonly #first: string[] = [];
  #more = 0;

  add(problem: string): void {
    if (this.#first.length < MAX_PROBLEMS) this.#first.push(problem);
    else this.#more += 1;
  }

  all(): string[] {
    return this.#more === 0 ? this.#first : [...this.#first, `There are ${this.#more} more.`];
  }
}

function add(sums: Map<string, number>, currency: string, amount: number): void {
  sums.set(currency, (sums.get(currency) ?? 0) + amount);
}

/**
 * What the signed documents of a done job come to, in millionths; NaN if a signature or a digest in them is
 * wrong; of an erased job what they came to. Undefined if the job is not done, has no price, or is no longer
 * kept.
 */
async function owedFor(
  { reader, keyring }: { reader: JobReader; keyring: Keyring },
  job: string,
): Promise<number | undefined> {
  const { state, record, erased } = (await reader.read(job)) ?? {};
  // Its documents are gone; what they came to was noted when they went.
  if (erased !== undefined) return state === 'done' ? erased.charge : undefined;
  const { ticket, evidence, verdict } = record ?? {};
  if (state !== 'done' || ticket === undefined || evidence === undefined || verdict === undefined) return undefined;
  const said = Verdict.parse(jsonOf(verdict));
  const key = keyring.find('attestor', verdict.keyId, Date.parse(said.predicate.timeCreated));
  const isSound =
    !('refused' in key) &&
    verifyPayload(key, verdict) &&
    said.predicate.ticket.sha256 === sha256Hex(ticket.payload) &&
    said.subject[0].digest.sha256 === sha256Hex(evidence.payload);
  if (!isSound) return Number.NaN;
  const asked = Ticket.parse(jsonOf(ticket)).predicate;
  return asked.price === undefined
    ? undefined
    : chargeOf(asked, Evidence.parse(jsonOf(evidence)).predicate, said.predicate);
}

function jsonOf(signed: SignedPayload): unknown {
  return JSON.parse(signed.payload.toString('utf8'));
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
