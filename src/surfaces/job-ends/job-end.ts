import { chargeOf } from '../../proof/receipts/charge.ts';
import type { Ending } from '../../core/jobs/job-state.ts';
import type { ErasedRecord } from '../../core/jobs/erased-record.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import type { SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Usage } from '../../proof/receipts/fields.ts';
import { Evidence, Verdict, readTicket, type Price } from '../../proof/receipts/statements.ts';
import { dayOf, ledgerEntry, monthOf } from '../ledger/ledger-entry.ts';
import { memoryWorkOf } from '../memory/memory-work.ts';
import { HeldPayment } from '../payments/payment.store.ts';
import { unitsOf } from '../payments/payment-terms.ts';

/** What the service alone notes of a job until its end is recorded: JSON, or empty. */
export interface PrivateNotes {
  readonly webhook: string;
  readonly payment: string;
  /** The line of a batch that needs the job, as it is, or empty. */
  readonly batchLine: string;
  /** The trace that it is part of, as `traceparent` has it, or empty. */
  readonly trace: string;
}

/**
 * What is recorded at the end of a job, as `enter.lua` takes it. Amounts are in millionths of the currency.
 */
export interface JobEnd {
  /** Place of the job in the order of ends. */
  readonly score: number;
  /**
   * Day of the usage and month of the ledger: those of its place in the order of ends, so that what is over
   * never changes.
   */
  readonly day: string;
  readonly month: string;
  /** Amounts to add, each under `<key id> <model> <what>`. */
  readonly usage: Record<string, number>;
  readonly payment?: Record<string, string>;
  /** As many tokens as were used. */
  readonly tokens: number;
  readonly batchLine?: string;
  /** Whether its answer is to be remembered. */
  readonly memory?: true;
  readonly ledger?: {
    readonly entry: string;
    readonly currency: string;
    readonly charge: number;
    readonly key: string;
  };
}

/** The outcome of a job. */
export interface Outcome {
  readonly tenant: string;
  readonly model: string;
  readonly end: JobEnd;
  /** From claim to end, of a done job. */
  readonly durationMs: number | undefined;
}

/** The outcome of a job that has ended. Throws if the payment in its notes is damaged. */
export function outcomeOf(view: JobView, ending: Ending, { payment, batchLine }: PrivateNotes, score: number): Outcome {
  const { tenant, model, keyId: key } = view;
  const isDone = ending.state === 'done';
  const { price, used, charge } = costAt(view, ending);
  const line = { isDone, endedMs: ending.atMs, charge, key: key === '' ? '-' : key, model };
  return {
    tenant,
    model,
    durationMs: isDone ? durationOf(view, ending) : undefined,
    end: {
      score,
      day: dayOf(score),
      month: monthOf(score),
      usage: usageOf(line, price, used),
      tokens: used === undefined ? 0 : used.inputTokens + used.outputTokens,
      ...(batchLine === '' ? {} : { batchLine }),
      ...(memoryWorkOf(view.surface) === undefined ? {} : { memory: true as const }),
      ...(payment === '' ? {} : { payment: paymentDue(payment, isDone ? charge : undefined) }),
      ...(price === undefined ? {} : { ledger: ledgerOf(line, price) }),
    },
  };
}

/** What was used and what it costs. */
export interface Cost {
  readonly price: Price | undefined;
  readonly used: Usage | undefined;
  /** In millionths. */
  readonly charge: number;
}

/** What a job came to at its end. */
export function costAt(view: JobView, { state }: Ending): Cost {
  return view.erased === undefined ? costOf(view, state === 'done') : costOfErased(view.erased);
}

/** By the documents of the job. */
function costOf({ id, ticket: stored, record }: JobView, isDone: boolean): Cost {
  if (stored === undefined) throw new Error(`The ticket of ${id} is gone.`);
  const ticket = readTicket(id, stored).ticket.predicate;
  const evidence = isDone ? predicateOf(Evidence, record?.evidence) : undefined;
  const verdict = predicateOf(Verdict, record?.verdict);
  return {
    price: ticket.price,
    used: isDone ? (verdict?.usage ?? evidence?.usage) : undefined,
    charge: isDone && ticket.price && evidence && verdict ? chargeOf(ticket, evidence, verdict) : 0,
  };
}

/** By what is left of them: its books do not depend on when a job is erased. */
function costOfErased({ price, usage, charge = 0 }: ErasedRecord): Cost {
  return { price, used: usage, charge };
}

/** From the claim of the attempt that was confirmed to the end, ms. */
function durationOf({ attempts }: JobView, { epoch, atMs }: Ending): number | undefined {
  const claimedMs = attempts[epoch - 1]?.claimedMs;
  return claimedMs === undefined ? undefined : atMs - claimedMs;
}

/** How a job ended, and how long it was in each phase; the phases of a done job alone, in ms. */
export interface EndedPhases {
  readonly state: string;
  readonly waitMs?: number;
  readonly runMs?: number;
  readonly confirmMs?: number;
}

/** The phases of the attempt that was confirmed: waiting for its engine, running, and being confirmed. */
export function phasesOf({ createdMs, attempts }: PhasedView, { state, epoch, atMs }: PhasedEnding): EndedPhases {
  const attempt = attempts[epoch - 1];
  if (state !== 'done' || attempt === undefined) return { state };
  const { beganMs, committedMs } = attempt;
  if (beganMs === undefined || committedMs === undefined) return { state };
  // The clock is Redis' own, and a failover may set it back.
  const from = (earlierMs: number, laterMs: number) => Math.max(0, laterMs - earlierMs);
  return {
    state,
    waitMs: from(createdMs, beganMs),
    runMs: from(beganMs, committedMs),
    confirmMs: from(committedMs, atMs),
  };
}

type PhasedEnding = Pick<Ending, 'state' | 'epoch' | 'atMs'>;
interface PhasedView {
  readonly createdMs: number;
  readonly attempts: readonly { readonly beganMs?: number | undefined; readonly committedMs?: number | undefined }[];
}

/** The end of a job whose documents are gone: nothing but its place is recorded. */
export function emptyEnd(score: number): JobEnd {
  return { score, day: dayOf(score), month: monthOf(score), usage: {}, tokens: 0 };
}

interface Line {
  readonly isDone: boolean;
  readonly endedMs: number;
  readonly charge: number;
  readonly key: string;
  readonly model: string;
}

/** Amounts of different currencies have different names, so that they are never added. */
function usageOf(
  { isDone, charge, key, model }: Line,
  price: Price | undefined,
  used: { readonly inputTokens: number; readonly outputTokens: number } | undefined,
): Record<string, number> {
  const name = (what: string) => `${key} ${model} ${price?.currency ?? '-'} ${what}`;
  return {
    [name('jobs')]: 1,
    ...(isDone ? { [name('done')]: 1 } : {}),
    ...(used === undefined
      ? {}
      : { [name('input_tokens')]: used.inputTokens, [name('output_tokens')]: used.outputTokens }),
    ...(charge > 0 ? { [name('charged')]: charge } : {}),
  };
}

/** A done job is charged; any other is released, and costs nothing. */
function ledgerOf({ isDone, endedMs, charge, key, model }: Line, price: Price): JobEnd['ledger'] & object {
  const { currency } = price;
  const kind = isDone ? 'charge' : 'release';
  return {
    entry: JSON.stringify(ledgerEntry({ kind, atMs: endedMs, amount: charge, key, model }, price)),
    currency,
    charge,
    key,
  };
}

/** The record of a job's own payment: due for what a done job costs, released for any other job. */
function paymentDue(held: string, charge: number | undefined): Record<string, string> {
  const { payload, requirements, unitsPerMillionth, payer, untilMs } = HeldPayment.parse(JSON.parse(held));
  const amount = charge === undefined ? '0' : unitsOf({ unitsPerMillionth }, charge);
  const asked = JSON.stringify({ ...requirements, amount });
  if (amount === '0') return { state: charge === undefined ? 'released' : 'settled', payer, requirements: asked };
  return { state: 'due', payer, requirements: asked, payload: JSON.stringify(payload), until: String(untilMs) };
}

/**
 * The predicate of a statement; undefined if there is none, or if it does not have the form of the schema.
 */
function predicateOf<Predicate>(
  schema: { safeParse(json: unknown): { success: true; data: { predicate: Predicate } } | { success: false } },
  signed: SignedPayload | undefined,
): Predicate | undefined {
  if (signed === undefined) return undefined;
  const parsed = schema.safeParse(JSON.parse(signed.payload.toString('utf8')));
  return parsed.success ? parsed.data.predicate : undefined;
}
