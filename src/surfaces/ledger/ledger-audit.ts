import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { decodeStored, verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { Evidence, Ticket, Verdict } from '../../proof/receipts/statements.ts';
import type { UsageStore } from './usage.store.ts';
import { monthOf, type Kind, type LedgerEntry } from './ledger-entry.ts';

/** No ledger is older. */
const FIRST_MONTH = { year: 2026, month: 1 };

export interface LedgerAudit {
  readonly tenant: string;
  readonly entries: number;
  /** Charges that were compared with the documents of a job that is still kept. */
  readonly compared: number;
  readonly spent: number;
  readonly held: number;
  /** What does not fit, one sentence each; none where the books balance. */
  readonly problems: readonly string[];
}

/**
 * Goes through a tenant's whole ledger: every job has one hold and at most one end, sums are what the account says, and every
 * charge is what the signed documents of the job come to, where they are still kept. Best at a quiet moment: what ends
 * meanwhile may look as if it did not fit.
 */
export async function auditLedger(
  parts: { redis: Redis; keys: RedisKeys; usage: UsageStore; keyring: Keyring },
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

/** What the signed documents of a done job come to; undefined where the job is not done, not priced, or no longer kept. */
async function owedFor(
  { redis, keys, keyring }: { redis: Redis; keys: RedisKeys; keyring: Keyring },
  job: string,
): Promise<number | undefined> {
  const [state, field, verdictText] = await redis.hmgetBuffer(keys.ruling(job), 'state', 'field', 'verdict');
  if (state?.toString() !== 'done' || !field || !verdictText) return undefined;
  const [ticketText, evidenceText] = await Promise.all([
    redis.hgetBuffer(keys.ticket(job), 'ticket'),
    redis.hgetBuffer(keys.evidence(job), field.toString('latin1')),
  ]);
  const [ticket, evidence, verdict] = [ticketText, evidenceText, verdictText].map((text) =>
    text === null ? undefined : decodeStored(text),
  );
  if (ticket === undefined || evidence === undefined || verdict === undefined) return undefined;
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

function* monthsUntil(nowMs: number): Generator<string> {
  const last = monthOf(nowMs);
  for (let { year, month } = FIRST_MONTH; ; month += 1) {
    if (month > 12) [year, month] = [year + 1, 1];
    const name = `${year}-${String(month).padStart(2, '0')}`;
    yield name;
    if (name >= last) return;
  }
}
