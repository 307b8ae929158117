import { z } from 'zod';
import { requireKnown } from './document-type.ts';
import { decodeStored, type SignedPayload } from './dsse.ts';
import {
  Count,
  Digest,
  EVIDENCE_FIELDS,
  Epoch,
  JobId,
  MemoryId,
  Name,
  Sha256,
  Task,
  Time,
  WorkerIdentity,
  subject,
} from './fields.ts';
import type { Shape } from './promises/promise.ts';
import { PROMISES, type Promises } from './promises/promises.ts';

/**
 * The three documents of a job as in-toto Statements v1. `docs/receipt-format.md` specifies them; the schemas
 * here are that specification in code. Members are strict: what a verifier does not know, it refuses.
 */
export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
export const TICKET_TYPE = 'urn:countersign:ticket:v1';
export const EVIDENCE_TYPE = 'urn:countersign:evidence:v1';
export const RELEASE_TYPE = 'urn:countersign:release:v1';
export const VERDICT_TYPE = 'https://in-toto.io/attestation/svr/v0.2';

/**
 * Every parameter that can change the answer. All are always there, so that none is left to a default of the
 * worker.
 */
export const Params = z.strictObject({
  max_tokens: z.number().int().min(1).max(131_072),
  temperature: z.number().min(0).max(2),
  top_p: z.number().gt(0).max(1),
  seed: z.number().int().min(0).max(4_294_967_295),
  stop: z.array(z.string().min(1).max(64)).max(4),
});
export type Params = z.infer<typeof Params>;

const Amount = z.number().int().min(0).max(1_000_000_000_000_000);
/** What the job costs, in millionths of the currency; `docs/receipt-format.md` has the formula. */
export const Price = z.strictObject({
  table: z.strictObject({ id: z.string().max(64), sha256: Sha256 }),
  currency: z.string().regex(/^[A-Z]{3,8}$/),
  /** For a million tokens. */
  input: Amount,
  output: Amount,
  /** For a second of the worker. */
  second: Amount,
  /** For the methods that the policy promises. */
  attestation: Amount,
  /** The most that it can come to. */
  hold: Amount,
  /** Where it comes to that whatever is used. */
  fixed: z.literal(true).optional(),
});
export type Price = z.infer<typeof Price>;

/** A memory that stood before the question, by its digest, which is over a random salt too. */
export const ShownMemory = z.strictObject({ id: MemoryId, sha256: Sha256 });
export type ShownMemory = z.infer<typeof ShownMemory>;

/** The fields of a verdict that it has whatever was promised. `notChecked` and `refusals` end it. */
const VERDICT_FIELDS = {
  verifier: z.strictObject({
    id: z.string().max(200),
    policies: z.tuple([z.strictObject({ uri: z.literal('urn:countersign:policy:v1'), digest: Digest })]),
  }),
  timeCreated: Time,
  job: JobId,
  epoch: Epoch,
  ticket: Digest,
  decision: z.enum(['confirmed', 'refuted']),
  /** How long the engine worked, where the ticket has a price for that. */
  ranMs: Count.optional(),
  refusals: z.array(z.string().max(80)).max(20),
};

/**
 * The schemas of the documents whose tickets can make these promises. Throws where a promise takes a field of
 * them all.
 */
export function statementsOf<Policy extends Shape, Evidence extends Shape, Verdict extends Shape>(
  promises: Promises<Policy, Evidence, Verdict, string>,
) {
  requireOwn(promises.evidence, EVIDENCE_FIELDS);
  requireOwn(promises.verdict, { ...VERDICT_FIELDS, properties: true, notChecked: true });
  const policy = z.strictObject(promises.policy);
  const properties = z.array(z.enum(promises.properties)).max(promises.properties.length);
  const { startedAt, finishedAt, ...evidence } = EVIDENCE_FIELDS;
  return {
    promises,
    Policy: policy,
    Ticket: z.strictObject({
      _type: z.literal(STATEMENT_TYPE),
      subject: z.tuple([subject('input')]),
      predicateType: z.literal(TICKET_TYPE),
      predicate: z.strictObject({
        job: JobId,
        tenant: Name,
        pool: Name,
        model: z.strictObject({ name: Name, sha256: Sha256 }),
        task: Task,
        params: Params,
        inputBytes: Count,
        policy,
        attempts: z.number().int().min(1).max(10),
        price: Price.optional(),
        memories: z.array(ShownMemory).max(50).optional(),
        createdAt: Time,
        deadline: Time,
        nonce: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
      }),
    }),
    Evidence: z.strictObject({
      _type: z.literal(STATEMENT_TYPE),
      subject: z.tuple([subject('output')]),
      predicateType: z.literal(EVIDENCE_TYPE),
      predicate: z.strictObject({ ...evidence, ...promises.evidence, startedAt, finishedAt }),
    }),
    Verdict: z.strictObject({
      _type: z.literal(STATEMENT_TYPE),
      subject: z.tuple([subject('evidence'), subject('output')]),
      predicateType: z.literal(VERDICT_TYPE),
      predicate: z.strictObject({
        verifier: VERDICT_FIELDS.verifier,
        timeCreated: VERDICT_FIELDS.timeCreated,
        properties,
        job: VERDICT_FIELDS.job,
        epoch: VERDICT_FIELDS.epoch,
        ticket: VERDICT_FIELDS.ticket,
        decision: VERDICT_FIELDS.decision,
        ranMs: VERDICT_FIELDS.ranMs,
        ...promises.verdict,
        notChecked: z.array(z.enum(promises.notChecked)).max(promises.notChecked.length),
        refusals: VERDICT_FIELDS.refusals,
      }),
    }),
    Findings: z.strictObject({ properties, ...promises.verdict }),
  };
}

function requireOwn(fields: object, taken: object): void {
  const twice = Object.keys(fields).find((name) => name in taken);
  if (twice !== undefined)
    throw new Error(`No promise can have the field ${twice}: every document of its kind has it.`);
}

/** The documents of this version. */
export const STATEMENTS = statementsOf(PROMISES);
export const { Policy, Ticket, Evidence, Verdict } = STATEMENTS;
export type Policy = z.infer<typeof Policy>;
export type Ticket = z.infer<typeof Ticket>;
export type Evidence = z.infer<typeof Evidence>;
export type Verdict = z.infer<typeof Verdict>;

/** The documents of this version, or of one that can promise more. */
export interface Statements {
  readonly promises: Pick<
    typeof PROMISES,
    'broken' | 'notChecked' | 'shares' | 'runs' | 'paidRuns' | 'isSealed' | 'needsTokens'
  >;
  readonly Policy: z.ZodType<Policy>;
  readonly Ticket: z.ZodType<Ticket>;
  readonly Evidence: z.ZodType<Evidence>;
  readonly Verdict: z.ZodType<Verdict>;
  /** What a verdict says of what was promised, its fields in the order in which the verdict has them. */
  readonly Findings: z.ZodType<Omit<Verdict['predicate'], keyof typeof VERDICT_FIELDS | 'notChecked'>>;
}

/** A word for what an attestor can vouch for, in this version. */
export type Property = (typeof PROMISES.properties)[number];

/** Why a worker gave a job back. */
export const RELEASE_CODES = [
  'engine_error',
  'engine_refused',
  'engine_overloaded',
  'context_exceeded',
  'drained',
  'cancelled',
  'deadline',
  'output_too_large',
  'input_missing',
  'barred',
  'storage_unavailable',
  'engine_away',
  'ticket_unknown',
  'would_not_finish',
] as const;
export const ReleaseCode = z.enum(RELEASE_CODES);
export type ReleaseCode = z.infer<typeof ReleaseCode>;

/** A worker's signed word that it has stopped and computed no answer. */
export const Release = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z.tuple([subject('ticket')]),
  predicateType: z.literal(RELEASE_TYPE),
  predicate: z.strictObject({
    job: JobId,
    epoch: Epoch,
    worker: WorkerIdentity,
    code: ReleaseCode,
    detail: z.string().max(300),
    at: Time,
  }),
});
export type Release = z.infer<typeof Release>;

/** The bytes of a statement: compact JSON in the order in which it was built. */
export function statementBytes(statement: Ticket | Evidence | Verdict | Release): Buffer {
  return Buffer.from(JSON.stringify(statement));
}

/**
 * A ticket of our own store. Only the API writes there, and it checked the ticket before it signed it, so
 * that the schema is not applied again; whoever decides by a ticket verifies its signature. Throws where it
 * is not in its stored form, and as `ticketIn` does.
 */
export function readTicket(id: string, stored: string): { ticket: Ticket; signed: SignedPayload } {
  const signed = storedTicket(id, stored);
  return { ticket: ticketIn(id, signed), signed };
}

/** A ticket of our own store as it was signed. Throws where it is not in its stored form. */
export function storedTicket(id: string, stored: string): SignedPayload {
  const signed = decodeStored(Buffer.from(stored));
  if (signed === undefined) throw new Error(`The ticket of ${id} is not in its stored form.`);
  return signed;
}

/** What a signed ticket says. Throws CodedError `document_unknown` where it is of another version. */
export function ticketIn(id: string, signed: SignedPayload): Ticket {
  const ticket = JSON.parse(signed.payload.toString('utf8')) as Ticket;
  requireKnown(`ticket of ${id}`, ticket.predicateType, TICKET_TYPE);
  return ticket;
}
