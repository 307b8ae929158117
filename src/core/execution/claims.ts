import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { MAX_EPOCHS } from '../jobs/job.reader.ts';
import { encodeStored, type SignedPayload } from '../../proof/receipts/dsse.ts';
import { Coalescer } from '../../ground/redis/coalescer.ts';
import { loadScript } from '../../ground/redis/script.ts';

const CLAIM = loadScript(new URL('./lua/claim.lua', import.meta.url));
const COMMIT = loadScript(new URL('./lua/commit.lua', import.meta.url));

/** Claiming pauses while more than this waits for attestation: unconfirmed work is bounded. */
export const ATTESTATION_BACKLOG = 20_000;
export const WAKE_STREAM_LENGTH = 10_000;
const BATCH = 64;

/** One attempt at a job that this worker holds. The token tells this delivery from every other. */
export interface Claim {
  readonly id: string;
  readonly epoch: number;
  readonly token: string;
  /** The stored form of the signed ticket. */
  readonly ticket: string;
  /** The input as JSON text, or undefined where it is a blob. */
  readonly input: string | undefined;
}

export type ClaimReply =
  | { readonly kind: 'ok'; readonly claim: Claim }
  | { readonly kind: 'useless'; readonly why: string }
  | { readonly kind: 'later'; readonly why: 'held' | 'excluded' | 'busy'; readonly afterMs: number };

export type CommitReply = 'ok' | 'fenced' | 'final' | 'missing';

interface Commitment {
  readonly claim: Claim;
  readonly kind: 'e' | 'r';
  readonly statement: SignedPayload;
  readonly output: string;
  readonly tokens: string;
}

/**
 * What a worker does to a job's documents: claim an epoch, and say once what came of it. Both may be sent twice
 * (a reply that was lost) without harm, and calls of one turn of the event loop share a round trip.
 */
export class Claims {
  readonly #claims: Coalescer<{ id: string; token: string }, ClaimReply>;
  readonly #commits: Coalescer<Commitment, CommitReply>;

  constructor(redis: Redis, keys: RedisKeys, worker: string, leaseMs: number) {
    this.#claims = new Coalescer(BATCH, async (wanted) => {
      const args = [keys.prefix, worker, leaseMs, MAX_EPOCHS, ATTESTATION_BACKLOG, WAKE_STREAM_LENGTH];
      const reply = await CLAIM.run(
        redis,
        [keys.lease(wanted[0]?.id ?? '')],
        [...args, ...wanted.flatMap(({ id, token }) => [id, token])],
      );
      if (!Array.isArray(reply)) throw new Error('claim.lua answered something else than a list.');
      return wanted.map(({ id, token }, index) => parseClaim(id, token, reply[index]));
    });
    this.#commits = new Coalescer(BATCH, async (commitments) => {
      const args = commitments.flatMap(({ claim, kind, statement, output, tokens }) => {
        const stored = encodeStored(statement);
        return [claim.id, claim.epoch, claim.token, kind, fieldOf(claim.epoch, stored), stored, output, tokens];
      });
      const reply = await COMMIT.run(
        redis,
        [keys.lease(commitments[0]?.claim.id ?? '')],
        [keys.prefix, worker, ...args],
      );
      if (!Array.isArray(reply)) throw new Error('commit.lua answered something else than a list.');
      return commitments.map((_, index) => parseCommit(reply[index]));
    });
  }

  claim(id: string, token: string): Promise<ClaimReply> {
    return this.#claims.add({ id, token });
  }

  /**
   * Commits signed evidence; `output` is the output itself where it is small enough to be kept beside it, else "", and
   * `tokens` its token ids (base64) likewise.
   */
  commitEvidence(claim: Claim, statement: SignedPayload, output: string, tokens = ''): Promise<CommitReply> {
    return this.#commits.add({ claim, kind: 'e', statement, output, tokens });
  }

  /** Gives the job back, with the reason. */
  release(claim: Claim, statement: SignedPayload): Promise<CommitReply> {
    return this.#commits.add({ claim, kind: 'r', statement, output: '', tokens: '' });
  }
}

/** Named by epoch and content, so that a stranger's garbage never stands where an honest commit belongs. */
function fieldOf(epoch: number, stored: string): string {
  return `${epoch}:${sha256Hex(stored).slice(0, 32)}`;
}

function parseClaim(id: string, token: string, reply: unknown): ClaimReply {
  if (!Array.isArray(reply)) throw new Error('claim.lua answered something else than a list.');
  const [kind, value, ticket, input] = reply as unknown[];
  switch (kind) {
    case 'ok':
      if (typeof ticket !== 'string') throw new Error('claim.lua answered without a ticket.');
      return {
        kind: 'ok',
        claim: { id, token, epoch: Number(value), ticket, input: typeof input === 'string' ? input : undefined },
      };
    case 'held':
      return { kind: 'later', why: 'held', afterMs: Number(value) };
    case 'excluded':
    case 'busy':
      return { kind: 'later', why: kind, afterMs: 500 };
    case 'missing':
    case 'final':
    case 'cancelled':
    case 'expired':
    case 'attesting':
    case 'exhausted':
      return { kind: 'useless', why: kind };
    default:
      throw new Error(`claim.lua answered ${String(kind)}.`);
  }
}

function parseCommit(reply: unknown): CommitReply {
  if (reply === 'ok' || reply === 'fenced' || reply === 'final' || reply === 'missing') return reply;
  throw new Error(`commit.lua answered ${String(reply)}.`);
}
