import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { JsonRefused, decodeUtf8, parseCanonicalJson, parseStrictJson } from '../../ground/json/strict-json.ts';
import { MAX_OUTPUT_DEPTH, OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { PublicKey } from '../../ground/keys/signing-key.ts';
import type { Refusal, WorkerRefusal } from './refusal.ts';
import { decodeStored, verifyPayload, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { Evidence, type Property, type Ticket } from '../../proof/receipts/statements.ts';
import { BINDING_PROPERTIES } from '../../proof/receipts/promises/binding.ts';

/**
 * The method `binding`, made for every job. It catches evidence that is forged, replayed, late, swapped or malformed,
 * unknown workers, another model digest than the ticket's, and usage beyond what is possible. It does not catch
 * an enrolled worker that signs a wrong answer; that takes recomputation.
 */

/** Longest stored evidence that is looked at. Honest evidence is near 1.5 KB. */
export const MAX_STATEMENT_BYTES = 8_192;
const LIMITS = { maxDepth: 8 };

export interface BindingInput {
  readonly job: string;
  readonly epoch: number;
  readonly ticket: Ticket;
  readonly ticketSigned: SignedPayload;
  /** Who claimed the epoch. */
  readonly claimant: string;
  /** The stored evidence, or how it is unfit. */
  readonly statement: { readonly kind: 'stored'; readonly text: string } | { readonly kind: 'missing' | 'too_large' };
  /** Whether the operator's catalog says that this model's weights are measured by the worker. */
  readonly measured: boolean;
  readonly apiKey: PublicKey | undefined;
  /** Its key if its word counts now, else why not. */
  readonly keyOf: (worker: string) => PublicKey | 'WORKER_UNKNOWN' | 'WORKER_QUARANTINED' | WorkerRefusal;
  /** The output with the digest that the evidence names, or undefined where there is none. */
  readonly output: (digest: string) => Promise<string | undefined>;
}

export type BindingResult =
  | {
      readonly ok: true;
      readonly evidence: Evidence;
      readonly signed: SignedPayload;
      readonly output: string;
      readonly properties: Property[];
    }
  | {
      readonly ok: false;
      readonly refusal: Refusal;
      readonly signed: SignedPayload | undefined;
      readonly outputSha256: string | undefined;
    };

export async function checkBinding(input: BindingInput): Promise<BindingResult> {
  if (input.statement.kind !== 'stored')
    return refuse(input.statement.kind === 'missing' ? 'EVIDENCE_MISSING' : 'EVIDENCE_TOO_LARGE');
  const signed = decodeStored(Buffer.from(input.statement.text));
  const evidence = signed && parseEvidence(signed);
  if (!signed || !evidence) return refuse('EVIDENCE_MALFORMED', signed);

  const { predicate } = evidence;
  const digest = evidence.subject[0].digest.sha256;
  const refuseThis = (refusal: Refusal) => refuse(refusal, signed, digest);
  if (predicate.worker.id !== input.claimant) return refuseThis('WORKER_NOT_CLAIMANT');
  const key = input.keyOf(predicate.worker.id);
  if (typeof key === 'string') return refuseThis(key);
  if (key.raw !== predicate.worker.publicKey) return refuseThis('WORKER_UNKNOWN');
  if (predicate.job !== input.job || input.ticket.predicate.job !== input.job) return refuseThis('JOB_MISMATCH');
  if (predicate.ticket.sha256 !== sha256Hex(input.ticketSigned.payload)) return refuseThis('TICKET_MISMATCH');
  if (predicate.epoch !== input.epoch) return refuseThis('EPOCH_MISMATCH');
  if (!modelMatches(evidence, input)) return refuseThis('MODEL_MISMATCH');
  if (!verifyPayload(key, signed)) return refuseThis('SIGNATURE_INVALID');
  if (input.apiKey === undefined || !verifyPayload(input.apiKey, input.ticketSigned))
    return refuseThis('TICKET_SIGNATURE_INVALID');
  if (!timesPossible(evidence)) return refuseThis('TIMES_IMPOSSIBLE');

  const output = await input.output(digest);
  if (output === undefined) return refuseThis('OUTPUT_MISSING');
  if (Buffer.byteLength(output) !== predicate.outputBytes || sha256Hex(output) !== digest)
    return refuseThis('OUTPUT_MISMATCH');
  if (!outputWellFormed(input.ticket, evidence, output)) return refuseThis('OUTPUT_MALFORMED');
  if (!usagePossible(input.ticket, evidence)) return refuseThis('USAGE_IMPOSSIBLE');
  return {
    ok: true,
    evidence,
    signed,
    output,
    properties: [...BINDING_PROPERTIES],
  };
}

function refuse(refusal: Refusal, signed?: SignedPayload, outputSha256?: string): BindingResult {
  return { ok: false, refusal, signed, outputSha256 };
}

function parseEvidence(signed: SignedPayload): Evidence | undefined {
  try {
    const parsed = Evidence.safeParse(parseCanonicalJson(decodeUtf8(signed.payload), LIMITS));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof JsonRefused) return undefined;
    throw error;
  }
}

function modelMatches(evidence: Evidence, input: BindingInput): boolean {
  const { model } = evidence.predicate;
  const wanted = input.ticket.predicate.model;
  return model.name === wanted.name && model.sha256 === wanted.sha256 && model.measured === input.measured;
}

function timesPossible({ predicate }: Evidence): boolean {
  return Date.parse(predicate.finishedAt) >= Date.parse(predicate.startedAt);
}

function outputWellFormed(ticket: Ticket, evidence: Evidence, output: string): boolean {
  try {
    const parsed = OUTPUTS[ticket.predicate.task].safeParse(parseStrictJson(output, { maxDepth: MAX_OUTPUT_DEPTH }));
    if (!parsed.success) return false;
    const finish = 'finish_reason' in parsed.data ? parsed.data.finish_reason : 'none';
    return finish === evidence.predicate.finishReason;
  } catch (error) {
    if (error instanceof JsonRefused) return false;
    throw error;
  }
}

/** A token is at least one byte of what was asked or answered, whatever the tokenizer; a template adds a little. */
const TEMPLATE_TOKENS = 64;

function usagePossible(ticket: Ticket, evidence: Evidence): boolean {
  const { usage, outputBytes } = evidence.predicate;
  const { inputBytes, params, task } = ticket.predicate;
  if (usage.inputTokens > inputBytes + TEMPLATE_TOKENS) return false;
  return task === 'embedding'
    ? usage.outputTokens === 0
    : usage.outputTokens <= Math.min(params.max_tokens, outputBytes);
}
