import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import type { RedisKeys } from '../../src/ground/redis/keys.ts';
import { workerIdOf, type SigningKey } from '../../src/ground/keys/signing-key.ts';
import { decodeStored, signPayload, type SignedPayload } from '../../src/proof/receipts/dsse.ts';
import {
  EVIDENCE_TYPE,
  RELEASE_TYPE,
  STATEMENT_TYPE,
  Ticket,
  statementBytes,
  type Evidence,
  type Release,
  type ReleaseCode,
} from '../../src/proof/receipts/statements.ts';
import { Claims, type Claim, type ClaimReply } from '../../src/core/execution/claims.ts';

/**
 * A worker in the hands of a test: it speaks the real scripts with the worker's own Redis user and key, so
 * that a test decides what is said and when. Nothing of the product is replaced.
 */
export class HandWorker {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly signingKey: SigningKey;
  readonly id: string;
  readonly claims: Claims;
  readonly pool: string;

  /**
   * Its leases outlast any test on any machine, unless running out is what the test is about. `Speaking` is
   * what runs the scripts, where they are those of another build.
   */
  constructor(
    redis: Redis,
    keys: RedisKeys,
    signingKey: SigningKey,
    leaseMs = 600_000,
    pool = 'default',
    Speaking = Claims,
  ) {
    this.pool = pool;
    this.redis = redis;
    this.keys = keys;
    this.signingKey = signingKey;
    this.id = workerIdOf(signingKey.public);
    this.claims = new Speaking(redis, keys, this.id, leaseMs);
  }

  tryClaim(id: string): Promise<ClaimReply> {
    return this.claims.claim(id, randomBytes(8).toString('hex'));
  }

  async claim(id: string): Promise<Claim> {
    const reply = await this.tryClaim(id);
    if (reply.kind !== 'ok') throw new Error(`not claimed: ${JSON.stringify(reply)}`);
    return reply.claim;
  }

  ticket(claim: Claim): { ticket: Ticket; signed: SignedPayload } {
    const signed = decodeStored(Buffer.from(claim.ticket));
    if (signed === undefined) throw new Error('no ticket');
    return { ticket: Ticket.parse(JSON.parse(signed.payload.toString())), signed };
  }

  /** What the no-op engine answers to this input. */
  honestOutput(claim: Claim): string {
    const { ticket } = this.ticket(claim);
    const text = sha256Hex(JSON.stringify([ticket.predicate.params.seed, JSON.parse(claim.input ?? 'null')]));
    return JSON.stringify({ text, finish_reason: 'stop' });
  }

  evidence(claim: Claim, output: string): Evidence {
    const { ticket, signed } = this.ticket(claim);
    const now = new Date().toISOString();
    return {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'output', digest: { sha256: sha256Hex(output) } }],
      predicateType: EVIDENCE_TYPE,
      predicate: {
        job: claim.id,
        ticket: { sha256: sha256Hex(signed.payload) },
        epoch: claim.epoch,
        worker: { id: this.id, publicKey: this.signingKey.public.raw },
        model: { ...ticket.predicate.model, measured: true },
        engine: { name: 'noop', version: '1', sha256: sha256Hex('noop') },
        outputBytes: Buffer.byteLength(output),
        usage: { inputTokens: 1, outputTokens: 1 },
        finishReason: 'stop',
        startedAt: now,
        finishedAt: now,
      },
    };
  }

  sign(evidence: Evidence, key = this.signingKey): SignedPayload {
    return signPayload(key, statementBytes(evidence));
  }

  /** Commits what an honest worker would. */
  commit(claim: Claim) {
    const output = this.honestOutput(claim);
    return this.claims.commitEvidence(claim, this.sign(this.evidence(claim, output)), output);
  }

  release(claim: Claim, code: ReleaseCode, detail = '') {
    const release: Release = {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'ticket', digest: { sha256: sha256Hex(this.ticket(claim).signed.payload) } }],
      predicateType: RELEASE_TYPE,
      predicate: {
        job: claim.id,
        epoch: claim.epoch,
        worker: { id: this.id, publicKey: this.signingKey.public.raw },
        code,
        detail,
        at: new Date().toISOString(),
      },
    };
    return this.claims.release(claim, signPayload(this.signingKey, statementBytes(release)));
  }

  /** Writes evidence past the scripts, field by field, as a hostile worker can with its Redis rights. */
  async writeRaw(claim: Claim, stored: string | Buffer, output: string): Promise<void> {
    const field = `${claim.epoch}:${sha256Hex(stored).slice(0, 32)}`;
    await this.redis.hsetnx(this.keys.evidence(claim.id), `${field}:o`, output);
    await this.redis.hsetnx(this.keys.evidence(claim.id), field, stored);
    await this.redis.hsetnx(this.keys.claims(claim.id), `c${claim.epoch}`, `${field} ${Date.now()}`);
    await this.redis.xadd(this.keys.attest(this.pool), '*', 'jobs', `e:${claim.id}:${field}`);
  }
}
