import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CLOSINGS, FINAL_STATES, type FinalState } from '../../proof/contract/job-states.ts';
import type { SignedPayload } from '../../proof/receipts/dsse.ts';
import { JobId } from '../../proof/receipts/fields.ts';
import { requireKnown } from '../../proof/receipts/document-type.ts';
import { SALT_BYTES } from '../../proof/tlog/log-entry.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { Attempt, Ending } from './job-state.ts';
import { DICTIONARY } from './record-dictionary.ts';

/**
 * The record of a job that has ended: its documents, its attempts, its small output, and what the service
 * notes of it, as bytes that are written once.
 *
 *   head   `1 <state> <place in the log, or -> <end, ms> <tenant> <model> `, as text: what a script must know
 *   body   what there is (a byte, see `FLAGS`); for each document its signature (64 bytes); the salt of the
 *          log's entry (32), where there is one; then, deflated with the dictionary of this version, the
 *          facts as a line of JSON, the payloads as they were signed, and the output. In payloads a byte
 *          below 4 stands for the digest of the ticket, of the output or of the evidence, which are known
 *          without it. A job that is not done has no output: what was asked stands in its place.
 *
 * A confirmation's place and time are known to the script that gives them, so that the head is added there.
 */
/** How long Redis keeps a record where nothing else is configured. */
export const KEEP_MS = 86_400_000;

/**
 * The bits of the byte with which a body begins. Scripts read it without opening the record: seal.lua asks
 * for `unstored`, erase.lua for `erased`.
 */
export const FLAGS = { ticket: 1, evidence: 2, verdict: 4, salt: 8, marked: 16, unstored: 32, erased: 64 } as const;

const VERSION = '1';
export const SIGNATURE_BYTES = 64;
// Few records are longer deflated; the default chunk is 16 KB, and costs more than the deflating.
export const DEFLATE = { level: 3, windowBits: 13, memLevel: 5, chunkSize: 2_048, dictionary: DICTIONARY } as const;
export const INFLATE = { windowBits: 13, dictionary: DICTIONARY } as const;
/** No record is longer: documents and a small output, or the refutation of a few. */
export const MAX_BODY_BYTES = MAX_OUTPUT_BYTES;

export const Ms = z.number().int().min(0);
const Closed = z.tuple([z.enum(CLOSINGS), Ms, z.string()]);
/**
 * Worker, time of the claim and of the commit, closing, and how long (ms) after the claim the engine began:
 * absent where it began with it, null where it never did.
 */
export const Attempts = z.array(z.tuple([z.string(), Ms, Ms.nullable(), Closed.nullable(), Ms.nullable().optional()]));
/** What a record and a stub say of how a job was submitted. */
export const SUBMISSION = {
  id: JobId,
  tenant: z.string(),
  model: z.string(),
  queue: z.string(),
  key: z.string(),
  created: Ms,
  deadline: Ms,
  maxAttempts: z.number().int(),
  cancel: Ms.optional(),
  hold: z.number().optional(),
};
/** The order of the members is the one of the dictionary. */
const Facts = z.strictObject({
  ...SUBMISSION,
  surface: z.string().optional(),
  attempts: Attempts,
  end: z.tuple([z.number().int(), z.string(), z.string()]),
  /** The key ids of the documents that there are. */
  signers: z.array(z.string()),
  /** Bytes of ticket, evidence, verdict and output; -1 where there is none. */
  lengths: z.tuple([z.number().int(), z.number().int(), z.number().int(), z.number().int()]),
});

/** What a record says, apart from its place in the log. */
export interface RecordContent {
  readonly id: string;
  readonly tenant: string;
  readonly model: string;
  readonly queue: string;
  /** The id of the API key that submitted the job; empty where none did. */
  readonly keyId: string;
  readonly createdMs: number;
  readonly deadlineMs: number;
  readonly maxAttempts: number;
  readonly cancelAskedMs: number | undefined;
  /** What was held for it, in millionths. */
  readonly hold: number | undefined;
  /** What the surface that took it keeps with it. */
  readonly surface: string | undefined;
  /** False where it erases itself a while after its end; see `UNSTORED_MS`. */
  readonly isStored: boolean;
  readonly attempts: readonly Attempt[];
  readonly ending: Omit<Ending, 'state' | 'atMs'>;
  readonly ticket: SignedPayload;
  readonly evidence: SignedPayload | undefined;
  readonly verdict: SignedPayload | undefined;
  /** The output where it is small and confirmed. */
  readonly output: Buffer | undefined;
  /** What was asked, where that is small and the job ended otherwise: it can be asked again. */
  readonly input?: Buffer | undefined;
  /** The salt of the entry in the log. */
  readonly salt: Buffer | undefined;
}

export interface JobRecord extends Omit<RecordContent, 'ending'> {
  readonly ending: Ending;
  /** Its place in the log, of a confirmation. */
  readonly index: number | undefined;
}

/** The head of a record. */
export interface RecordHead {
  readonly state: FinalState;
  readonly index: number | undefined;
  readonly endedMs: number;
  readonly tenant: string;
  readonly model: string;
}

/** The body of a record. */
export function recordBody(content: RecordContent): Buffer {
  const { ticket, evidence, verdict, salt } = content;
  const answer = content.output ?? content.input;
  const documents = [ticket, evidence, verdict];
  const present = documents.reduce((bits, document, at) => bits | (document === undefined ? 0 : 1 << at), 0);
  const isMarked = documents.every((document) => document === undefined || !hasMarks(document.payload));
  const payloads = isMarked ? marked({ ...content, output: answer }) : documents.map((document) => document?.payload);
  const facts = JSON.stringify({
    id: content.id,
    tenant: content.tenant,
    model: content.model,
    queue: content.queue,
    key: content.keyId,
    created: content.createdMs,
    deadline: content.deadlineMs,
    maxAttempts: content.maxAttempts,
    cancel: content.cancelAskedMs,
    hold: content.hold,
    surface: content.surface,
    attempts: attemptRows(content.attempts),
    end: [content.ending.epoch, content.ending.code, content.ending.detail],
    signers: documents.flatMap((document) => document?.keyId ?? []),
    lengths: [...payloads.map((payload) => payload?.length ?? -1), answer?.length ?? -1],
  } satisfies z.infer<typeof Facts> | { lengths: number[] });
  const texts = [...payloads, answer].filter((bytes) => bytes !== undefined);
  const deflated = deflateRawSync(Buffer.concat([Buffer.from(`${facts}\n`), ...texts]), DEFLATE);
  return Buffer.concat([
    Buffer.from([
      present |
        (salt === undefined ? 0 : FLAGS.salt) |
        (isMarked ? FLAGS.marked : 0) |
        (content.isStored ? 0 : FLAGS.unstored),
    ]),
    ...documents.flatMap((document) => document?.signature ?? []),
    ...(salt === undefined ? [] : [salt]),
    deflated,
  ]);
}

/** The bytes of a record; `recordBody` makes its body. */
export function recordBytes({ state, index, endedMs, tenant, model }: RecordHead, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${VERSION} ${state} ${index ?? '-'} ${endedMs} ${tenant} ${model} `), body]);
}

const HEAD = /^1 ([a-z]+) (\d{1,15}|-) (\d{1,15}) ([a-z0-9-]{1,63}) ([a-z0-9-]{1,63}) /;

/** The head of a record and how long it is. Throws where these are not the bytes of a record. */
export function recordHead(bytes: Buffer): RecordHead & { readonly length: number } {
  const [whole, word, index, ended, tenant = '', model = ''] =
    HEAD.exec(bytes.subarray(0, 200).toString('latin1')) ?? [];
  requireKnownVersion(bytes);
  const state = FINAL_STATES.find((one) => one === word);
  if (whole === undefined || state === undefined) throw new Error('These are not the bytes of a record.');
  return {
    state,
    index: index === '-' ? undefined : Number(index),
    endedMs: Number(ended),
    tenant,
    model,
    length: whole.length,
  };
}

/** Throws CodedError `document_unknown` where this is a record that a later version has sealed. */
function requireKnownVersion(bytes: Buffer): void {
  const [, version] = /^(\d{1,6}) [a-z]+ /.exec(bytes.subarray(0, 40).toString('latin1')) ?? [];
  if (version !== undefined) requireKnown('record', `record:v${version}`, `record:v${VERSION}`);
}

/** What a record says. Throws where these are not the bytes of a record that has all it was made of. */
export function openRecord(bytes: Buffer): JobRecord {
  const { state, index, endedMs, length } = recordHead(bytes);
  const present = bytes[length] ?? 0;
  if ((present & FLAGS.erased) !== 0) throw new Error('What this record held was erased.');
  let at = length + 1;
  const take = (count: number) => bytes.subarray(at, (at += count));
  const signatures = [0, 1, 2].map((place) => ((present & (1 << place)) === 0 ? undefined : take(SIGNATURE_BYTES)));
  const salt = (present & FLAGS.salt) === 0 ? undefined : take(SALT_BYTES);
  const text = inflateRawSync(bytes.subarray(at), { ...INFLATE, maxOutputLength: MAX_BODY_BYTES });
  const line = text.indexOf(10);
  const facts = Facts.parse(JSON.parse(text.subarray(0, line).toString('utf8')));
  let from = line + 1;
  const [t, e, v, answer] = facts.lengths.map((length) =>
    length < 0 ? undefined : text.subarray(from, (from += length)),
  );
  const payloads = (present & FLAGS.marked) === 0 ? [t, e, v] : unmarked([t, e, v], answer);
  const signers = facts.signers.values();
  const [ticket, evidence, verdict] = signatures.map(
    (signature, place) =>
      signature && { keyId: signers.next().value ?? '', signature, payload: payloads[place] ?? Buffer.alloc(0) },
  );
  if (ticket === undefined) throw new Error(`The record of ${facts.id} has no ticket.`);
  const [epoch, code, detail] = facts.end;
  return {
    ...submissionOf(facts),
    surface: facts.surface,
    isStored: (present & FLAGS.unstored) === 0,
    attempts: facts.attempts.map(attemptOf),
    ending: { state, atMs: endedMs, epoch, code, detail },
    ticket,
    evidence,
    verdict,
    output: state === 'done' ? answer : undefined,
    input: state === 'done' ? undefined : answer,
    salt,
    index,
  };
}

/** What a record or a stub says of how its job was submitted. */
export function submissionOf(facts: z.infer<z.ZodObject<typeof SUBMISSION>>) {
  return {
    id: facts.id,
    tenant: facts.tenant,
    model: facts.model,
    queue: facts.queue,
    keyId: facts.key,
    createdMs: facts.created,
    deadlineMs: facts.deadline,
    maxAttempts: facts.maxAttempts,
    cancelAskedMs: facts.cancel,
    hold: facts.hold,
  };
}

const hasMarks = (payload: Buffer) => payload.includes(1) || payload.includes(2) || payload.includes(3);

/** The payloads with marks in place of the digests that follow from what stands before them. */
function marked({ ticket, evidence, verdict, output }: RecordContent): (Buffer | undefined)[] {
  const known: [mark: string, digest: string][] = [['\x01', sha256Hex(ticket.payload)]];
  if (output !== undefined) known.push(['\x02', sha256Hex(output)]);
  const shortened = (payload: Buffer | undefined) =>
    payload &&
    replaced(
      payload,
      known.map(([mark, digest]) => [digest, mark]),
    );
  const shortEvidence = shortened(evidence?.payload);
  if (evidence !== undefined) known.push(['\x03', sha256Hex(evidence.payload)]);
  return [ticket.payload, shortEvidence, shortened(verdict?.payload)];
}

/** The payloads of ticket, evidence and verdict as they were signed. */
function unmarked(
  [ticket, evidence, verdict]: (Buffer | undefined)[],
  output: Buffer | undefined,
): (Buffer | undefined)[] {
  const known: [mark: string, digest: string][] = [];
  if (ticket !== undefined) known.push(['\x01', sha256Hex(ticket)]);
  if (output !== undefined) known.push(['\x02', sha256Hex(output)]);
  const wholeEvidence = evidence && replaced(evidence, known);
  if (wholeEvidence !== undefined) known.push(['\x03', sha256Hex(wholeEvidence)]);
  return [ticket, wholeEvidence, verdict && replaced(verdict, known)];
}

function replaced(payload: Buffer, pairs: readonly (readonly [from: string, to: string])[]): Buffer {
  return Buffer.from(
    pairs.reduce((text, [from, to]) => text.replaceAll(from, to), payload.toString('latin1')),
    'latin1',
  );
}

/** Attempts as records hold them. */
export function attemptRows(attempts: readonly Attempt[]): z.infer<typeof Attempts> {
  return attempts.map(({ worker, claimedMs, beganMs, committedMs, closed }) => [
    worker,
    claimedMs,
    committedMs ?? null,
    closed === undefined ? null : [closed.why, closed.atMs, closed.detail],
    ...(beganMs === claimedMs ? ([] as const) : ([beganMs === undefined ? null : beganMs - claimedMs] as const)),
  ]);
}

export function attemptOf(
  [worker, claimedMs, committedMs, closed, began = 0]: z.infer<typeof Attempts>[number],
  at: number,
): Attempt {
  return {
    epoch: at + 1,
    worker,
    claimedMs,
    beganMs: began === null ? undefined : claimedMs + began,
    committedMs: committedMs ?? undefined,
    closed: closed === null ? undefined : { why: closed[0], atMs: closed[1], detail: closed[2] },
  };
}
