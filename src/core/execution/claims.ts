import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { tokenOf } from '../jobs/begun.ts';
import { MAX_EPOCHS } from '../jobs/job.reader.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import { cells, described, listOf, oneOf, optional, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const CLAIM = loadScript(new URL('./lua/claim.lua', import.meta.url), listOf(parseClaim));
const COMMIT = loadScript(new URL('./lua/commit.lua', import.meta.url), listOf(oneOf('ok', 'fenced', 'final')));

/** Claiming pauses while more entries than this wait for attestation, which bounds unconfirmed work. */
export const ATTESTATION_BACKLOG = 5_000;
/** So many jobs share a round trip, and an entry in the attestor's stream. */
export const MAX_ITEMS = 64;

/** A job that this worker holds. The token distinguishes this delivery from every other. */
export interface Claim {
  readonly id: string;
  readonly epoch: number;
  readonly token: string;
  /** Of which the token is the digest: by it alone this worker can say that its engine began. */
  readonly secret: string;
  /** The stored form of the signed ticket. */
  readonly ticket: string;
  /** The input as JSON text, or undefined where it is a blob. */
  readonly input: string | undefined;
  /** The trace that it is part of, as `traceparent` has it. */
  readonly trace?: string | undefined;
  /** How long the job has left (ms), where that was told: the clock of this machine is not asked then. */
  readonly remainingMs?: number;
}

/**
 * What a claim came to. `useless`: the delivery is no longer needed. `later`: it is to be delivered again.
 */
export type ClaimReply =
  | {
      readonly kind: 'ok';
      readonly claim: Claim;
      /** Its beginning is still to be said, also where an engine's place is free for it. */
      readonly isReady?: boolean;
    }
  | { readonly kind: 'useless'; readonly why: string }
  | { readonly kind: 'later'; readonly why: 'held' | 'excluded' | 'busy' | 'barred'; readonly afterMs: number };

/** What a commit came to. `fenced`: the epoch was closed, or belongs to another worker. */
export type CommitReply = 'ok' | 'fenced' | 'final';

interface Wanted {
  readonly id: string;
  readonly secret: string;
  readonly begins: boolean;
}

interface Commitment {
  readonly claim: Claim;
  readonly kind: 'e' | 'r' | 'b';
  readonly field: string;
  readonly statement: string;
  readonly output: string;
  readonly tokens: string;
}

/**
 * What a worker writes to a job's documents: it claims an epoch, says that its engine began, and commits once
 * what came of it. Each may be sent twice, after a lost reply, without harm. Any number of calls at once:
 * those of one turn of the event loop share a round trip.
 */
export class Claims {
  readonly #claims: Coalescer<Wanted, ClaimReply>;
  readonly #commits: Coalescer<Commitment, CommitReply>;

  constructor(redis: Redis, keys: RedisKeys, worker: string, leaseMs: number) {
    this.#claims = new Coalescer(MAX_ITEMS, async (wanted) => {
      const args = [keys.prefix, worker, leaseMs, MAX_EPOCHS, ATTESTATION_BACKLOG];
      const replies = await CLAIM.run(
        redis,
        [keys.lease(wanted[0]?.id ?? '')],
        [...args, ...wanted.flatMap(({ id, secret, begins }) => [id, tokenOf(secret), begins ? 'begins' : ''])],
      );
      return replies.map((reply, index) => {
        const { id = '', secret = '' } = wanted[index] ?? {};
        return reply.kind === 'ok'
          ? { kind: 'ok', claim: { id, secret, token: tokenOf(secret), ...reply.attempt } }
          : reply;
      });
    });
    this.#commits = new Coalescer(MAX_ITEMS, async (commitments) => {
      const sent = commitments.filter((one) => !isOutrun(one, commitments));
      const args = sent.flatMap(({ claim, kind, field, statement, output, tokens }) => {
        return [claim.id, claim.epoch, claim.token, kind, field, statement, output, tokens];
      });
      const replies = await COMMIT.run(redis, [keys.lease(sent[0]?.claim.id ?? '')], [keys.prefix, worker, ...args]);
      const replyTo = new Map(sent.map((one, at) => [one, replies[at]]));
      return commitments.map((one) => replyTo.get(one) ?? 'ok');
    });
  }

  /**
   * Claims the next epoch of a job. `secret` is random (16 hex digits) and new for each delivery. Where the
   * place of an engine is free the job begins with its claim; else it is held ready, until `begin`.
   */
  claim(id: string, secret: string, begins = true): Promise<ClaimReply> {
    return this.#claims.add({ id, secret, begins });
  }

  /** Says that the engine of a claim that was held ready has begun. */
  begin(claim: Claim): Promise<CommitReply> {
    return this.#commits.add({ claim, kind: 'b', field: claim.secret, statement: '', output: '', tokens: '' });
  }

  /**
   * Commits signed evidence. `output` is the output itself and `tokens` its token ids (base64), each where it
   * is small enough to be kept beside the evidence, else "".
   */
  commitEvidence(claim: Claim, statement: SignedPayload, output: string, tokens = ''): Promise<CommitReply> {
    return this.#commits.add({ kind: 'e', ...stored(claim, statement), output, tokens });
  }

  /** Gives the job back, with a signed statement of the reason. */
  release(claim: Claim, statement: SignedPayload): Promise<CommitReply> {
    return this.#commits.add({ kind: 'r', ...stored(claim, statement), output: '', tokens: '' });
  }
}

/**
 * A statement as it is stored: named by epoch and content, so that another worker's garbage never stands
 * where an honest commit belongs.
 */
function stored(claim: Claim, signed: SignedPayload): Pick<Commitment, 'claim' | 'field' | 'statement'> {
  const statement = encodeStored(signed);
  return { claim, field: `${claim.epoch}:${sha256Hex(statement).slice(0, 32)}`, statement };
}

/** Whether it says that an engine began whose evidence goes with it: the evidence says as much. */
function isOutrun({ kind, claim }: Commitment, together: readonly Commitment[]): boolean {
  return kind === 'b' && together.some((other) => other.kind === 'e' && other.claim === claim);
}

/** What the script answers for one job; the caller knows the id and the token. */
type ClaimRow =
  | { readonly kind: 'ok'; readonly attempt: Omit<Claim, 'id' | 'token' | 'secret'> }
  | Exclude<ClaimReply, { readonly kind: 'ok' }>;

function parseClaim(row: unknown): ClaimRow {
  const [kind, value, ticket, input, trace] = cells(row);
  switch (kind) {
    case 'ok':
      return {
        kind: 'ok',
        attempt: {
          epoch: Number(value),
          ticket: text(ticket),
          input: optional(text)(input ?? null),
          trace: optional(text)(trace ?? null),
        },
      };
    case 'held':
      return { kind: 'later', why: 'held', afterMs: Number(value) };
    case 'excluded':
    case 'busy':
    case 'barred':
      return { kind: 'later', why: kind, afterMs: 500 };
    case 'missing':
    case 'final':
    case 'cancelled':
    case 'expired':
    case 'attesting':
    case 'exhausted':
      return { kind: 'useless', why: kind };
    default:
      throw new Error(described(kind));
  }
}
