import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { JobReader } from '../../core/jobs/job.reader.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { Evidence, Ticket, Verdict } from '../../proof/receipts/statements.ts';
import type { UsageStore } from './usage.store.ts';
import { monthOf, type Kind, type LedgerEntry } from './ledger-entry.ts';

/** The first month that any ledger can have. */
const FIRST_MONTH = { year: 2026, month: 1 };

export interface LedgerAudit {
  readonly tenant: string;
  readonly entries: number;
  /** Number of charges that were compared with the signed documents of their jobs. */
  readonly compared: number;
  /** Sums of the ledger, in millionths of the currency. */
  readonly spent: number;
  readonly held: number;
  /** What does not agree, one sentence each; empty if the ledger balances. */
  readonly problems: readonly string[];
}

/**
 * Audits a tenant's whole ledger. Every job must have one hold and at most one end, the sums must be those of
 * the account, and every charge must be what the signed documents of its job come to, if they are still kept.
 * Run it at a quiet moment: a job that ends meanwhile may look like a problem.
 */
export async function auditLedger(
  parts: { reader: JobReader; usage: UsageStore; keyring: Keyring },
  tenant: string,
): Promise<LedgerAudit> {
  const jobs = new Map<string, Partial<Record<Kind, LedgerEntry>>>();
  let entries = 0;
  for (const month of monthsUntil(Date.now())) {
    for await (const { job, kind, entry } of parts.usage.ledger(tenant, month)) {
      entries += 1;
      jobs.set(job, { ...jobs.get(job), [kind]: entry });
    }
  }
  const problems: string[] = [];
  let [spent, held, compared] = [0, 0, 0];
  for (const [job, { hold, charge, release }] of jobs) {
    if (hold === undefined) problems.push(`${job} was ${charge ? 'charged' : 'released'} and never held.`);
    if (charge !== undefined && release !== undefined) problems.push(`${job} was charged and released.`);
    if (charge !== undefined && hold !== undefined && charge.amount > hold.amount)
      problems.push(`${job} was charged more than was held.`);
    spent += charge?.amount ?? 0;
    if (charge === undefined && release === undefined) held += hold?.amount ?? 0;
    const owed = await owedFor(parts, job);
    if (owed === undefined) continue;
    compared += 1;
    if (charge?.amount !== owed)
      problems.push(
        `${job} is ${charge === undefined ? 'not charged' : `charged ${charge.amount}`} and its receipt comes to ${owed}.`,
      );
  }
  const account = await parts.usage.account(tenant);
  if (account.spent !== spent) problems.push(`The account says ${account.spent} spent, and the ledger ${spent}.`);
  if (account.held !== held) problems.push(`The account says ${account.held} held, and the ledger ${held}.`);
  return { tenant, entries, compared, spent, held, problems };
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
