import { chargeOf } from '../../proof/receipts/charge.ts';
import { decodeStored } from '../../proof/receipts/dsse.ts';
import { Evidence, Verdict, type Price, type Ticket } from '../../proof/receipts/statements.ts';
import { dayOf, entry, monthOf } from '../ledger/ledger-entry.ts';
import { HeldPayment } from '../payments/payment.store.ts';
import { unitsOf } from '../payments/payment-terms.ts';

/** The cells of a job that has ended, in the order of `read-outcomes.lua`. */
export type OutcomeRow = readonly (string | null)[];

/**
 * What is recorded at the end of a job, as `enter.lua` takes it. Amounts are in millionths of the currency.
 */
export interface JobEnd {
  /** Place of the job in the order of ends. */
  readonly score: number;
  /** Day of the usage and month of the ledger. */
  readonly day: string;
  readonly month: string;
  /** Amounts to add, each under `<key id> <model> <what>`. */
  readonly usage: Record<string, number>;
  readonly payment?: Record<string, string>;
  readonly ledger?: {
    readonly kind: 'charge' | 'release';
    readonly entry: string;
    readonly hold: number;
    readonly charge: number;
    readonly key: string;
  };
}

/** The outcome of a job. */
export interface Outcome {
  readonly tenant: string;
  readonly model: string;
  readonly end: JobEnd;
  /** The job's own webhook as JSON, or empty. */
  readonly webhook: string;
  /** From claim to end, of a done job. */
  readonly durationMs: number | undefined;
}

/** Reads the outcome of a job from its row. Throws if the payment in it is damaged. */
export function outcomeOf(row: OutcomeRow, score: number): Outcome {
  const cells = row.map((cell) => cell ?? '');
  const [tenant = '', model = '', key = '', created = '', hold = '', webhook = '', state = ''] = cells;
  const [ended = '', claimed = '', evidenceText = '', ticketText = '', verdictText = '', payment = ''] = cells.slice(7);
  const isDone = state === 'done';
  const endedMs = Number(ended);
  const ticket = ticketOf(ticketText);
  const evidence = predicateOf(Evidence, evidenceText);
  const verdict = predicateOf(Verdict, verdictText);
  const charge = isDone && ticket?.price && evidence && verdict ? chargeOf(ticket, evidence, verdict) : 0;
  const claimedMs = Number(claimed.split(' ')[2]);
  const line = { isDone, endedMs, hold: Number(hold), charge, key, model };
  return {
    tenant,
    model,
    webhook,
    // A worker wrote when it claimed: only a time within the life of the job teaches anything.
    durationMs: isDone && claimedMs >= Number(created) && claimedMs <= endedMs ? endedMs - claimedMs : undefined,
    end: {
      score,
      day: dayOf(endedMs),
      month: monthOf(Number(created)),
      usage: usageOf(line, verdict?.usage ?? evidence?.usage),
      ...(payment === '' ? {} : { payment: paymentDue(payment, isDone ? charge : undefined) }),
      ...(ticket?.price === undefined ? {} : { ledger: ledgerOf(line, ticket.price) }),
    },
  };
}

/** The end of a job whose documents are gone: nothing but its place is recorded. */
export function emptyEnd(score: number): JobEnd {
  const now = Date.now();
  return { score, day: dayOf(now), month: monthOf(now), usage: {} };
}

interface Line {
  readonly isDone: boolean;
  readonly endedMs: number;
  readonly hold: number;
  readonly charge: number;
  readonly key: string;
  readonly model: string;
}

function usageOf(
  { isDone, charge, key, model }: Line,
  used: { readonly inputTokens: number; readonly outputTokens: number } | undefined,
): Record<string, number> {
  const name = (what: string) => `${key === '' ? '-' : key} ${model} ${what}`;
  return {
    [name('jobs')]: 1,
    ...(isDone ? { [name('done')]: 1 } : {}),
    ...(used === undefined
      ? {}
      : { [name('input_tokens')]: used.inputTokens, [name('output_tokens')]: used.outputTokens }),
    ...(charge > 0 ? { [name('charged')]: charge } : {}),
  };
}

/** A done job is charged; of any other, what was held is released. */
function ledgerOf({ isDone, endedMs, hold, charge, key, model }: Line, price: Price): JobEnd['ledger'] & object {
  return {
    kind: isDone ? 'charge' : 'release',
    entry: JSON.stringify(entry(endedMs, isDone ? charge : hold, key, model, price)),
    hold,
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

/** The predicate of a stored ticket. It was signed by the API itself, so its form is trusted. */
function ticketOf(stored: string): Ticket['predicate'] | undefined {
  const json = payloadOf(stored);
  return json === undefined ? undefined : (json as Ticket).predicate;
}

/**
 * The predicate of a stored statement; undefined if there is none, or if it does not have the form of the
 * schema.
 */
function predicateOf<Predicate>(
  schema: { safeParse(json: unknown): { success: true; data: { predicate: Predicate } } | { success: false } },
  stored: string,
): Predicate | undefined {
  const json = payloadOf(stored);
  if (json === undefined) return undefined;
  const parsed = schema.safeParse(json);
  return parsed.success ? parsed.data.predicate : undefined;
}

function payloadOf(stored: string): unknown {
  const signed = stored === '' ? undefined : decodeStored(Buffer.from(stored));
  return signed === undefined ? undefined : JSON.parse(signed.payload.toString('utf8'));
}
