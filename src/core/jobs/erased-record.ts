import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { chargeOf } from '../../proof/receipts/charge.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { Sha256, Task, Usage } from '../../proof/receipts/fields.ts';
import { Evidence, Policy, Price, Verdict, readTicket } from '../../proof/receipts/statements.ts';
import { SALT_BYTES } from '../../proof/tlog/log-entry.ts';
import type { Ending } from './job-state.ts';
import {
  Attempts,
  DEFLATE,
  FLAGS,
  INFLATE,
  MAX_BODY_BYTES,
  Ms,
  SIGNATURE_BYTES,
  SUBMISSION,
  attemptOf,
  attemptRows,
  openRecord,
  recordBytes,
  recordHead,
  submissionOf,
  type JobRecord,
} from './job-record.ts';

/** How long (ms) after its end the answer of a job with `store: false` is served, before it erases itself. */
export const UNSTORED_MS = 3_600_000;
/**
 * The same for a line of a batch that is not answered there yet: its window, and days in which no courier
 * runs. Once it is, it is `UNSTORED_MS` from then on.
 */
export const UNSTORED_IN_BATCH_MS = UNSTORED_MS + 4 * 86_400_000;

const Digests = z.strictObject({
  ticket: Sha256,
  input: Sha256,
  evidence: Sha256.optional(),
  output: Sha256.optional(),
});

/** The first line of the deflated part; behind it stands the payload of the verdict. */
const Facts = z.strictObject({
  ...SUBMISSION,
  attempts: Attempts,
  end: z.tuple([z.int(), z.string()]),
  erased: Ms,
  task: Task,
  policy: Policy,
  price: Price.optional(),
  usage: Usage.optional(),
  charge: z.int().optional(),
  digests: Digests,
  signer: z.string().optional(),
});

/**
 * What stays of a job that was erased: who asked for it and when, how it ended, what was used and charged,
 * digests, the verdict and its place in the log. Nothing of what was asked, with which parameters, or
 * answered, and no sentence that a worker or the caller wrote.
 */
export interface ErasedRecord extends Omit<
  JobRecord,
  'ticket' | 'evidence' | 'output' | 'surface' | 'isStored' | 'ending'
> {
  readonly ending: Ending;
  /** When its erasure was asked for or due. */
  readonly erasedMs: number;
  readonly task: Task;
  /** How it was to be confirmed. */
  readonly policy: Policy;
  /** What it cost by the ticket; undefined where it was free. */
  readonly price: Price | undefined;
  /** Of a done job. */
  readonly usage: Usage | undefined;
  /** Of a done job that had a price, in millionths of its currency. */
  readonly charge: number | undefined;
  readonly digests: z.infer<typeof Digests>;
}

/** What is known of a job that is to be erased: its record, or its documents before it is sealed. */
export type Erasable = Omit<JobRecord, 'isStored' | 'output' | 'surface'>;

/** The stub of a job. The same job and time always give the same stub. */
export function erasedOf(job: Erasable, erasedMs: number): ErasedRecord {
  const { ticket } = readTicket(job.id, encodeStored(job.ticket));
  const evidence = parsed(Evidence, job.evidence);
  const verdict = parsed(Verdict, job.verdict);
  const { task, policy, price } = ticket.predicate;
  const { id, tenant, model, queue, keyId, createdMs, deadlineMs, maxAttempts, cancelAskedMs, hold, salt, index } = job;
  const isDone = job.ending.state === 'done';
  const isPriced = isDone && price !== undefined && evidence !== undefined && verdict !== undefined;
  return {
    ...{ id, tenant, model, queue, keyId, createdMs, deadlineMs, maxAttempts, cancelAskedMs, hold, salt, index },
    attempts: job.attempts.map(({ closed, ...attempt }) => ({
      ...attempt,
      closed: closed && { ...closed, detail: '' },
    })),
    ending: { ...job.ending, detail: '' },
    verdict: job.verdict,
    erasedMs,
    task,
    policy,
    price,
    usage: isDone ? (verdict?.predicate.usage ?? evidence?.predicate.usage) : undefined,
    charge: isPriced ? chargeOf(ticket.predicate, evidence.predicate, verdict.predicate) : undefined,
    digests: {
      ticket: sha256Hex(job.ticket.payload),
      input: ticket.subject[0].digest.sha256,
      evidence: job.evidence && sha256Hex(job.evidence.payload),
      output: evidence?.subject[0].digest.sha256,
    },
  };
}

/** The bytes that take the place of the record; their head is the same. */
export function erasedBytes(erased: ErasedRecord): Buffer {
  const { verdict, salt, index, ending, tenant, model } = erased;
  const facts = JSON.stringify({
    id: erased.id,
    tenant,
    model,
    queue: erased.queue,
    key: erased.keyId,
    created: erased.createdMs,
    deadline: erased.deadlineMs,
    maxAttempts: erased.maxAttempts,
    cancel: erased.cancelAskedMs,
    hold: erased.hold,
    attempts: attemptRows(erased.attempts),
    end: [ending.epoch, ending.code],
    erased: erased.erasedMs,
    task: erased.task,
    policy: erased.policy,
    price: erased.price,
    usage: erased.usage,
    charge: erased.charge,
    digests: erased.digests,
    signer: verdict?.keyId,
  } satisfies z.infer<typeof Facts>);
  const body = Buffer.concat([
    Buffer.from([FLAGS.erased | (verdict === undefined ? 0 : FLAGS.verdict) | (salt === undefined ? 0 : FLAGS.salt)]),
    ...(verdict === undefined ? [] : [verdict.signature]),
    ...(salt === undefined ? [] : [salt]),
    deflateRawSync(
      Buffer.concat([Buffer.from(`${facts}\n`), ...(verdict === undefined ? [] : [verdict.payload])]),
      DEFLATE,
    ),
  ]);
  return recordBytes({ state: ending.state, index, endedMs: ending.atMs, tenant, model }, body);
}

/** Whether these bytes are a stub. Throws where they are not those of a record. */
export function isErased(bytes: Buffer): boolean {
  return ((bytes[recordHead(bytes).length] ?? 0) & FLAGS.erased) !== 0;
}

/** The stub that takes the place of a record; a stub stays as it is. Throws where these are no record. */
export function erased(bytes: Buffer, erasedMs: number): Buffer {
  return isErased(bytes) ? bytes : erasedBytes(erasedOf(openRecord(bytes), erasedMs));
}

/** What a record or a stub says. Throws where these are the bytes of neither. */
export function openAny(bytes: Buffer): JobRecord | ErasedRecord {
  return isErased(bytes) ? openErased(bytes) : openRecord(bytes);
}

function openErased(bytes: Buffer): ErasedRecord {
  const { state, index, endedMs, length } = recordHead(bytes);
  const present = bytes[length] ?? 0;
  let at = length + 1;
  const take = (flag: number, count: number) =>
    (present & flag) === 0 ? undefined : bytes.subarray(at, (at += count));
  const signature = take(FLAGS.verdict, SIGNATURE_BYTES);
  const salt = take(FLAGS.salt, SALT_BYTES);
  const text = inflateRawSync(bytes.subarray(at), { ...INFLATE, maxOutputLength: MAX_BODY_BYTES });
  const line = text.indexOf(10);
  const facts = Facts.parse(JSON.parse(text.subarray(0, line).toString('utf8')));
  const [epoch, code] = facts.end;
  return {
    ...submissionOf(facts),
    attempts: facts.attempts.map(attemptOf),
    ending: { state, atMs: endedMs, epoch, code, detail: '' },
    erasedMs: facts.erased,
    task: facts.task,
    policy: facts.policy,
    price: facts.price,
    usage: facts.usage,
    charge: facts.charge,
    digests: facts.digests,
    verdict: signature && { keyId: facts.signer ?? '', signature, payload: text.subarray(line + 1) },
    salt,
    index,
  };
}

/** The statement, where there is one in the form of the schema. */
function parsed<Statement>(schema: z.ZodType<Statement>, signed: SignedPayload | undefined): Statement | undefined {
  if (signed === undefined) return undefined;
  const found = schema.safeParse(JSON.parse(signed.payload.toString('utf8')));
  return found.success ? found.data : undefined;
}
