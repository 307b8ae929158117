import { sha256Hex } from '../../../ground/blobs/sha256.ts';
import { JsonRefused, parseStrictJson } from '../../../ground/json/strict-json.ts';
import { verifyPayload } from '../../../proof/receipts/dsse.ts';
import { BINDING_PROPERTIES } from '../../../proof/receipts/promises/binding.ts';
import type { Evidence, Property, Ticket } from '../../../proof/receipts/statements.ts';
import { MAX_OUTPUT_DEPTH, OUTPUTS } from '../../../proof/tasks/task-input.ts';
import type { WorkerRefusal } from '../refusal.ts';
import type { Attempt } from './attempt.ts';
import type { Method } from './method.ts';

/** Longest stored evidence that is looked at. Honest evidence is near 1.5 KB. */
export const MAX_STATEMENT_BYTES = 8_192;

type Refusal =
  | 'EVIDENCE_MISSING'
  | 'EVIDENCE_TOO_LARGE'
  | 'EVIDENCE_MALFORMED'
  | 'WORKER_NOT_CLAIMANT'
  | 'WORKER_UNKNOWN'
  | 'WORKER_QUARANTINED'
  | WorkerRefusal
  | 'JOB_MISMATCH'
  | 'TICKET_MISMATCH'
  | 'EPOCH_MISMATCH'
  | 'MODEL_MISMATCH'
  | 'SIGNATURE_INVALID'
  | 'TICKET_SIGNATURE_INVALID'
  | 'TIMES_IMPOSSIBLE'
  | 'OUTPUT_MISSING'
  | 'OUTPUT_MISMATCH'
  | 'OUTPUT_MALFORMED'
  | 'USAGE_IMPOSSIBLE';

/**
 * The method `binding`, made for every job. It catches evidence that is forged, replayed, late, swapped or
 * malformed, unknown workers, another model digest than the ticket's, and usage beyond what is possible. It
 * does not catch an enrolled worker that signs a wrong answer: that takes recomputation.
 */
export const binding: Method<Property> = {
  name: 'binding',
  stage: 'first',
  isDrawn: () => true,
  async check(attempt) {
    const refusal = refuseEvidence(attempt) ?? (await refuseOutput(attempt));
    if (refusal !== undefined) return { refusals: [refusal] };
    return {
      properties: BINDING_PROPERTIES,
      notChecked: attempt.evidence.predicate.model.measured ? [] : ['WEIGHTS_DECLARED_NOT_MEASURED'],
    };
  },
};

/** Why the evidence does not belong to this attempt. */
function refuseEvidence({ parts, ticket, signed, claim }: Attempt): Refusal | undefined {
  const { statement } = parts;
  if (statement.kind !== 'stored') return statement.kind === 'missing' ? 'EVIDENCE_MISSING' : 'EVIDENCE_TOO_LARGE';
  if (signed === undefined || claim === undefined) return 'EVIDENCE_MALFORMED';
  const { worker, job, ticket: answered, epoch } = claim.predicate;
  if (worker.id !== parts.claimant) return 'WORKER_NOT_CLAIMANT';
  const key = parts.keyOf(worker.id);
  if (typeof key === 'string') return key;
  if (key.raw !== worker.publicKey) return 'WORKER_UNKNOWN';
  if (job !== parts.job || ticket.predicate.job !== parts.job) return 'JOB_MISMATCH';
  if (answered.sha256 !== sha256Hex(parts.ticketSigned.payload)) return 'TICKET_MISMATCH';
  if (epoch !== parts.epoch) return 'EPOCH_MISMATCH';
  if (!modelMatches(ticket, claim, parts.isMeasured)) return 'MODEL_MISMATCH';
  if (!verifyPayload(key, signed)) return 'SIGNATURE_INVALID';
  if (parts.apiKey === undefined || !verifyPayload(parts.apiKey, parts.ticketSigned)) return 'TICKET_SIGNATURE_INVALID';
  return timesPossible(claim) ? undefined : 'TIMES_IMPOSSIBLE';
}

/** Why the output is not the one of the evidence, or cannot be an answer to the ticket. */
async function refuseOutput(attempt: Attempt): Promise<Refusal | undefined> {
  const { ticket, evidence } = attempt;
  const output = await attempt.storedOutput();
  if (output === undefined) return 'OUTPUT_MISSING';
  if (Buffer.byteLength(output) !== evidence.predicate.outputBytes || sha256Hex(output) !== attempt.outputSha256)
    return 'OUTPUT_MISMATCH';
  if (!outputWellFormed(ticket, evidence, output)) return 'OUTPUT_MALFORMED';
  return usagePossible(ticket, evidence) ? undefined : 'USAGE_IMPOSSIBLE';
}

function modelMatches(ticket: Ticket, { predicate: { model } }: Evidence, isMeasured: boolean): boolean {
  const wanted = ticket.predicate.model;
  return model.name === wanted.name && model.sha256 === wanted.sha256 && model.measured === isMeasured;
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

/**
 * A token is at least one byte of what was asked or answered, whatever the tokenizer; a template adds a
 * little.
 */
const TEMPLATE_TOKENS = 64;

function usagePossible(ticket: Ticket, evidence: Evidence): boolean {
  const { usage, outputBytes } = evidence.predicate;
  const { inputBytes, params, task } = ticket.predicate;
  if (usage.inputTokens > inputBytes + TEMPLATE_TOKENS) return false;
  return task === 'embedding'
    ? usage.outputTokens === 0
    : usage.outputTokens <= Math.min(params.max_tokens, outputBytes);
}
