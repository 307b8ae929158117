import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { isStorageError } from '../../ground/blobs/storage-error.ts';
import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import {
  EVIDENCE_TYPE,
  RELEASE_TYPE,
  STATEMENT_TYPE,
  type Evidence,
  type Release,
  type ReleaseCode,
  type Ticket,
} from '../../proof/receipts/statements.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { EngineError, type Engine, type EngineResult } from '../engines/engine.ts';
import { encodeTokens } from '../engines/token-ids.ts';
import type { Claim } from './claims.ts';
import type { BlobLink } from './links.ts';
import { Stop } from './stop.ts';

/** A claim, and the digest of its ticket's payload: what can be given back, whatever the ticket says. */
export interface Given {
  readonly claim: Claim;
  readonly sha256: string;
}

/** A claim with its ticket. */
export interface Attempt extends Given {
  readonly ticket: Ticket;
}

/** What an engine generated, and when. */
export interface Answer {
  readonly result: EngineResult;
  readonly startedAt: Date;
  readonly finishedAt: Date;
}

/**
 * Digests of what an engine generated, and what of it is small enough to stand beside the evidence (""
 * otherwise).
 */
interface StoredResult {
  readonly outputSha256: string;
  readonly outputBytes: number;
  readonly inlineOutput: string;
  readonly tokensSha256: string | undefined;
  readonly inlineTokens: string;
}

/** Who signs, as statements name it. */
type Signer = Evidence['predicate']['worker'];

/**
 * The input, checked against the digest in the ticket: neither Redis nor the disk is trusted. Throws Stop
 * `input_missing`.
 */
export async function inputOf({ claim, ticket }: Attempt, blobs: BlobLink): Promise<unknown> {
  const wanted = ticket.subject[0].digest.sha256;
  try {
    const text = claim.input ?? (await blobs.of(claim.id).get(wanted, MAX_INPUT_BYTES)).toString('utf8');
    if (sha256Hex(text) !== wanted) throw new Error('The input is not the one of the ticket.');
    return JSON.parse(text);
  } catch (error) {
    if (isStorageError(error)) throw error;
    throw new Stop('input_missing');
  }
}

/**
 * Stores what is too large to stand beside the evidence as blobs, and returns the digests. Throws Stop
 * `output_too_large`.
 */
export async function storedResult(link: BlobLink, ticket: Ticket, result: EngineResult): Promise<StoredResult> {
  const { policy, job } = ticket.predicate;
  const blobs = link.of(job);
  const output = Buffer.from(result.output);
  const isInline = output.length <= INLINE_BYTES;
  // A vote is sealed until all have voted, and workers share the folder of blobs.
  if (output.length > MAX_OUTPUT_BYTES || (!isInline && PROMISES.isSealed(policy))) throw new Stop('output_too_large');
  const outputSha256 = isInline ? sha256Hex(output) : await blobs.put(output);
  const tokens = PROMISES.needsTokens(policy) && result.tokens ? encodeTokens(result.tokens) : undefined;
  const tokensText = tokens?.toString('base64') ?? '';
  const areTokensInline = tokensText.length <= INLINE_BYTES;
  if (tokens !== undefined && !areTokensInline) await blobs.put(tokens);
  return {
    outputSha256,
    outputBytes: output.length,
    inlineOutput: isInline ? result.output : '',
    tokensSha256: tokens && sha256Hex(tokens),
    inlineTokens: areTokensInline ? tokensText : '',
  };
}

/** What a worker signs of an answer. */
export function evidenceOf(
  worker: Signer,
  { claim, ticket, sha256 }: Attempt,
  engine: Engine,
  { result, startedAt, finishedAt }: Answer,
  { outputSha256, outputBytes, tokensSha256 }: StoredResult,
): Evidence {
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'output', digest: { sha256: outputSha256 } }],
    predicateType: EVIDENCE_TYPE,
    predicate: {
      job: ticket.predicate.job,
      ticket: { sha256 },
      epoch: claim.epoch,
      worker,
      model: { name: engine.model.name, sha256: engine.model.sha256, measured: engine.model.measured },
      engine: { name: engine.identity.name, version: engine.identity.version, sha256: engine.identity.sha256 },
      outputBytes,
      usage: { inputTokens: result.usage.inputTokens, outputTokens: result.usage.outputTokens },
      finishReason: result.finishReason,
      ...(tokensSha256 === undefined ? {} : { tokens: { sha256: tokensSha256 } }),
      startedAt: startedAt.toISOString(),
      finishedAt: finishedAt.toISOString(),
    },
  };
}

/** What a worker signs when it gives a job back. */
export function releaseOf(worker: Signer, { claim, sha256 }: Given, code: ReleaseCode, error: unknown): Release {
  return {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'ticket', digest: { sha256 } }],
    predicateType: RELEASE_TYPE,
    predicate: {
      job: claim.id,
      epoch: claim.epoch,
      worker,
      code,
      detail: error instanceof EngineError || code === 'ticket_unknown' ? messageOf(error).slice(0, 300) : '',
      at: new Date().toISOString(),
    },
  };
}
