import type { Redis } from 'ioredis';
import { Attempt } from '../attestation/methods/attempt.ts';
import type { Equipment } from '../attestation/methods/equipment.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import type { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { isStorageError } from '../../ground/blobs/storage-error.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { decodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { STATEMENTS, readTicket, type Evidence, type Statements } from '../../proof/receipts/statements.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import type { AuditDraws } from './audit-draws.ts';
import type { CaseFile } from './case-file.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';

/** By what an attempt is judged, and where its documents are. */
export interface AttemptSources {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly blobs: BlobFolders;
  readonly keyring: Keyring;
  readonly enrolled: EnrolledWorkers;
  readonly catalog: Catalog;
  readonly equipment: Equipment;
  readonly draws: AuditDraws;
  /** Other documents than those of this version. */
  readonly statements?: Statements;
}

/** The attempt that a case is about. */
export function openAttempt(file: CaseFile, sources: AttemptSources): Attempt {
  const { keyring, enrolled, catalog, equipment, draws, statements = STATEMENTS } = sources;
  const { ticket, signed: ticketSigned } = readTicket(file.id, file.ticket);
  const apiKey = keyring.find('api', ticketSigned.keyId, Date.parse(ticket.predicate.createdAt));
  const handedIn = sources.blobs.ofPool(ticket.predicate.pool).of(file.id);
  return new Attempt(
    {
      job: file.id,
      epoch: file.epoch,
      ticket,
      ticketSigned,
      claimant: file.claimant,
      statement: file.statement,
      heldMs: heldMsOf(file),
      isMeasured: isMeasured(catalog, ticket.predicate.model.name),
      apiKey: 'refused' in apiKey ? undefined : apiKey,
      equipment,
      keyOf: (worker) => enrolled.find(worker, file.nowMs),
      operatorOf: (worker) => enrolled.operatorOf(worker),
      mayServe: (worker, pool) => enrolled.mayServe(worker, pool),
      isDrawn: (label, share) => draws.isDrawn(label, share, file.id, file.epoch, file.createdMs),
      readInput: () => readInput(sources, handedIn, file.id, ticket.subject[0].digest.sha256),
      readOutput: (digest) => readOutput(handedIn, file, digest),
      readTokens: (digest) => readTokens(sources, handedIn, file, digest),
      readVotes: () => readVotes(sources, file, statements),
    },
    statements,
  );
}

/**
 * Throws where the catalog does not have the model: it came after this attestor last read it, or has gone.
 * Whether weights are measured is the operator's word, and guessing it would blame a worker.
 */
function isMeasured(catalog: Catalog, model: string): boolean {
  const found = catalog.get(model);
  if (found === undefined) throw new Error(`The catalog of this attestor does not have the model ${model}.`);
  return found.capabilities.measuresWeights;
}

/** From the begin of the engine to the commit, ms by Redis' clock. */
function heldMsOf({ attempts }: CaseFile): number {
  const { beganMs, committedMs } = attempts.at(-1) ?? {};
  return beganMs === undefined || committedMs === undefined ? 0 : committedMs - beganMs;
}

async function readInput(
  { redis, keys }: AttemptSources,
  handedIn: BlobStore,
  id: string,
  digest: string,
): Promise<string> {
  const inline = await redis.hget(keys.ticket(id), 'input');
  return inline ?? (await handedIn.get(digest, MAX_INPUT_BYTES)).toString('utf8');
}

async function readOutput(
  handedIn: BlobStore,
  { inlineOutput }: CaseFile,
  digest: string,
): Promise<string | undefined> {
  // Any worker of the pool can write beside another's evidence: only the digest says what belongs to it.
  if (inlineOutput !== undefined && sha256Hex(inlineOutput) === digest) return inlineOutput;
  const bytes = await handedIn.get(digest, MAX_OUTPUT_BYTES).catch(unlessAway);
  // A small output is handed in beside its evidence; only large ones are kept as blobs.
  return bytes !== undefined && bytes.length > INLINE_BYTES ? bytes.toString('utf8') : undefined;
}

/** What is missing is nobody's; a disk that is away may have it, and the case comes again. */
function unlessAway(error: unknown): undefined {
  if (isStorageError(error)) throw error;
  return undefined;
}

async function readTokens(
  { redis, keys }: AttemptSources,
  handedIn: BlobStore,
  file: CaseFile,
  digest: string,
): Promise<Buffer | undefined> {
  const key = keys.evidence(file.id);
  const field = `${file.field}:t`;
  if ((await redis.hstrlen(key, field)) <= INLINE_BYTES) {
    const inline = Buffer.from((await redis.hget(key, field)) ?? '', 'base64');
    if (sha256Hex(inline) === digest) return inline;
  }
  return handedIn.get(digest, MAX_OUTPUT_BYTES).catch(unlessAway);
}

/**
 * The attempts that were closed as votes: their evidence was bound and checked then, and is never changed.
 */
async function readVotes(
  { redis, keys }: AttemptSources,
  { id, epoch: current }: CaseFile,
  statements: Statements,
): Promise<{ evidence: Evidence; signed: SignedPayload }[]> {
  const epochs = Array.from({ length: current - 1 }, (_, at) => at + 1);
  if (epochs.length === 0) return [];
  const [closings, commits] = await Promise.all([
    redis.hmget(keys.ruling(id), ...epochs.map((epoch) => `x${epoch}`)),
    redis.hmget(keys.claims(id), ...epochs.map((epoch) => `c${epoch}`)),
  ]);
  const votes = await Promise.all(
    epochs.map(async (_, at) => {
      if (closings[at]?.startsWith('voted ') !== true) return undefined;
      const [field = ''] = (commits[at] ?? '').split(' ');
      const stored = await redis.hgetBuffer(keys.evidence(id), field);
      const signed = stored === null ? undefined : decodeStored(stored);
      if (signed === undefined) throw new Error(`The evidence of a vote on ${id} is gone.`);
      return { evidence: statements.Evidence.parse(JSON.parse(signed.payload.toString('utf8'))), signed };
    }),
  );
  return votes.filter((vote) => vote !== undefined);
}
