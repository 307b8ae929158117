import { z } from 'zod';
import { sha256Hex } from '../../../ground/blobs/sha256.ts';
import { publicKeyFromBase64, workerIdOf, type PublicKey } from '../../../ground/keys/signing-key.ts';
import { requireKnown } from '../../../proof/receipts/document-type.ts';
import { verifyPayload, type SignedPayload } from '../../../proof/receipts/dsse.ts';
import { BINDING_PROPERTIES } from '../../../proof/receipts/promises/binding.ts';
import { EVIDENCE_TYPE, type Evidence, type Property, type Ticket } from '../../../proof/receipts/statements.ts';
import { outputFault } from '../../../proof/tasks/output-fault.ts';
import type { Bar } from '../refusal.ts';
import type { Attempt } from './attempt.ts';
import { GONE, notCounted, type Method } from './method.ts';

/** Longest stored evidence that is looked at. Honest evidence is near 1.5 KB. */
export const MAX_STATEMENT_BYTES = 8_192;

type Refusal =
  | 'WORKER_NOT_CLAIMANT'
  | 'TICKET_MISMATCH'
  | 'MODEL_MISMATCH'
  | 'TICKET_SIGNATURE_INVALID'
  | 'TIMES_IMPOSSIBLE'
  | 'OUTPUT_MISMATCH'
  | 'OUTPUT_MALFORMED'
  | 'USAGE_IMPOSSIBLE';

/**
 * The method `binding`, made for every job. It catches evidence that is forged, replayed, late, swapped or
 * malformed, another model digest than the ticket's, and usage beyond what is possible. It
 * does not catch an enrolled worker that signs a wrong answer: that takes recomputation.
 *
 * Every worker of a pool can write where another one commits. What the claimant did not sign for this job and
 * epoch is therefore ignored, and only what it signed is held against it. What a worker says whose word
 * counts for nothing now is not judged at all: its attempt is not counted.
 */
export const binding: Method<Property> = {
  name: 'binding',
  stage: 'first',
  isDrawn: () => true,
  async check(attempt) {
    const claim = ownClaim(attempt);
    if (claim === undefined) {
      requireKnownEvidence(attempt);
      return { ignored: 'The claimant did not sign this for this attempt.' };
    }
    const barred = barredFrom(attempt);
    if (barred !== undefined) return notCounted(barred);
    const refusal = refuseEvidence(attempt, claim);
    if (refusal !== undefined) return { refusals: [refusal] };
    const output = await attempt.storedOutput();
    if (output === undefined) return GONE;
    const refused = refuseOutput(attempt, claim, output);
    if (refused !== undefined) return { refusals: [refused] };
    return {
      properties: BINDING_PROPERTIES,
      notChecked: claim.predicate.model.measured ? [] : ['WEIGHTS_DECLARED_NOT_MEASURED'],
    };
  },
};

/** The evidence that the claimant signed for this job and epoch; undefined where it is anything else. */
function ownClaim({ parts, signed, claim }: Attempt): Evidence | undefined {
  if (signed === undefined || claim?.predicate.job !== parts.job || claim.predicate.epoch !== parts.epoch)
    return undefined;
  const enrolled = parts.keyOf(parts.claimant);
  const key = typeof enrolled === 'string' ? namedKey(claim) : enrolled;
  if (key === undefined || workerIdOf(key) !== parts.claimant) return undefined;
  return verifyPayload(key, signed) ? claim : undefined;
}

const Signed = z.object({
  predicateType: z.string().regex(/^urn:countersign:evidence:v\d{1,6}$/),
  predicate: z.object({ job: z.string(), epoch: z.number() }),
});

/**
 * Throws CodedError `document_unknown` where the claimant signed evidence of another version for this
 * attempt: it is put aside for an attestor that knows it, and nothing is held against the worker.
 */
function requireKnownEvidence({ parts, signed }: Attempt): void {
  const key = parts.keyOf(parts.claimant);
  if (signed === undefined || typeof key === 'string' || !verifyPayload(key, signed)) return;
  const { success, data } = Signed.safeParse(jsonIn(signed));
  if (success && data.predicate.job === parts.job && data.predicate.epoch === parts.epoch)
    requireKnown(`evidence of ${parts.job}`, data.predicateType, EVIDENCE_TYPE);
}

function jsonIn({ payload }: SignedPayload): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** The key that the evidence names. A worker's id is the digest of its key. */
function namedKey({ predicate }: Evidence): PublicKey | undefined {
  try {
    return publicKeyFromBase64(predicate.worker.publicKey);
  } catch {
    return undefined;
  }
}

/** Why the claimant's word counts for nothing now, whatever it says. */
function barredFrom({ parts, ticket }: Attempt): Bar | undefined {
  const key = parts.keyOf(parts.claimant);
  if (typeof key === 'string') return key;
  return parts.mayServe(parts.claimant, ticket.predicate.pool) ? undefined : 'WORKER_NOT_OF_POOL';
}

/** Why the claimant's evidence is not one that counts for this attempt. */
function refuseEvidence({ parts, ticket }: Attempt, claim: Evidence): Refusal | undefined {
  const { worker, ticket: answered } = claim.predicate;
  const key = parts.keyOf(parts.claimant);
  if (typeof key === 'string' || worker.id !== parts.claimant || key.raw !== worker.publicKey)
    return 'WORKER_NOT_CLAIMANT';
  if (answered.sha256 !== sha256Hex(parts.ticketSigned.payload)) return 'TICKET_MISMATCH';
  if (!modelMatches(ticket, claim, parts.isMeasured)) return 'MODEL_MISMATCH';
  if (parts.apiKey === undefined || !verifyPayload(parts.apiKey, parts.ticketSigned)) return 'TICKET_SIGNATURE_INVALID';
  return timesPossible(claim) ? undefined : 'TIMES_IMPOSSIBLE';
}

/** Why the output cannot be an answer to the ticket. Its digest is the one that the claimant signed. */
function refuseOutput({ ticket, parts }: Attempt, evidence: Evidence, output: string): Refusal | undefined {
  if (Buffer.byteLength(output) !== evidence.predicate.outputBytes) return 'OUTPUT_MISMATCH';
  if (outputFault(ticket.predicate.task, output, evidence.predicate.finishReason) !== undefined)
    return 'OUTPUT_MALFORMED';
  return !parts.isMeasured || usagePossible(ticket, evidence) ? undefined : 'USAGE_IMPOSSIBLE';
}

function modelMatches(ticket: Ticket, { predicate: { model } }: Evidence, isMeasured: boolean): boolean {
  const wanted = ticket.predicate.model;
  return model.name === wanted.name && model.sha256 === wanted.sha256 && model.measured === isMeasured;
}

function timesPossible({ predicate }: Evidence): boolean {
  return Date.parse(predicate.finishedAt) >= Date.parse(predicate.startedAt);
}

/**
 * A token that is read is at least one byte of what was asked, whatever the tokenizer; a template adds a
 * little.
 */
const TEMPLATE_TOKENS = 64;

/**
 * For engines that run in the worker, whose templates are known. Of tokens that are written nothing is left
 * where a stop text or a control token took them away. A server that speaks for itself may add templates,
 * tools and reasoning of any length: what it tells is told, and is charged for up to the price that was held.
 */
function usagePossible(ticket: Ticket, evidence: Evidence): boolean {
  const { usage } = evidence.predicate;
  const { inputBytes, params, task } = ticket.predicate;
  if (usage.inputTokens > inputBytes + TEMPLATE_TOKENS) return false;
  return usage.outputTokens <= (task === 'embedding' ? 0 : params.max_tokens);
}
