import { channel } from 'node:diagnostics_channel';
import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { BlobStore } from '../../ground/blobs/blob-store.ts';
import { encodeTokens } from '../engines/token-ids.ts';
import { EngineError, workOf, type Engine, type EngineResult } from '../engines/engine.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import {
  EVIDENCE_TYPE,
  RELEASE_TYPE,
  STATEMENT_TYPE,
  readTicket,
  statementBytes,
  type Evidence,
  type Release,
  type ReleaseCode,
  type Ticket,
} from '../../proof/receipts/statements.ts';
import { ChunkStream } from './chunk-stream.ts';
import type { Claim, Claims, CommitReply } from './claims.ts';
import type { Heartbeat } from './heartbeat.ts';

/** Published after each commit attempt: `{ id, epoch, reply }`. Tests and metrics listen; nobody pays otherwise. */
export const committed = channel('countersign.worker.committed');

/** Why a running job is told to stop. */
export class Stop extends Error {
  override readonly name = 'Stop';
  readonly code: ReleaseCode | 'lease_lost';

  constructor(code: ReleaseCode | 'lease_lost') {
    super(`The job was stopped: ${code}.`);
    this.code = code;
  }
}

export interface RunnerParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly claims: Claims;
  readonly blobs: BlobStore;
  readonly heartbeat: Heartbeat;
  readonly key: SigningKey;
  readonly logger: Logger;
}

/** What becomes of a delivery: it is used up, or comes again after a while. */
export type Outcome = { readonly kind: 'consumed' } | { readonly kind: 'later'; readonly afterMs: number };

const CONSUMED: Outcome = { kind: 'consumed' };

/**
 * Runs one delivery: claim, run the engine, commit, and only then return. Whatever kills the process between two
 * of these steps leaves either no claim (the delivery comes again), or a claim whose lease runs out (the attestor
 * closes the epoch and queues the job again), or evidence that the attestor has been told of.
 */
export class JobRunner {
  readonly #running = new Map<string, { claim: Claim; controller: AbortController }>();
  readonly #parts: RunnerParts;
  readonly #worker: { id: string; publicKey: string };

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#worker = { id: workerIdOf(parts.key.public), publicKey: parts.key.public.raw };
  }

  get inFlight(): number {
    return this.#running.size;
  }

  /** Stops a job that runs here; does nothing for another. */
  stop(id: string, code: Stop['code'], lease?: string): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    if (lease !== undefined && this.#parts.heartbeat.leaseOf(running.claim) !== lease) return;
    running.controller.abort(new Stop(code));
  }

  stopAll(code: ReleaseCode): void {
    for (const id of this.#running.keys()) this.stop(id, code);
  }

  async run(id: string, engine: Engine): Promise<Outcome> {
    crashPoint('worker.before-claim');
    const reply = await this.#parts.claims.claim(id, freshRandom(8).toString('hex'));
    if (reply.kind === 'useless') return CONSUMED;
    if (reply.kind === 'later') return { kind: 'later', afterMs: reply.afterMs };
    crashPoint('worker.after-claim');

    const { claim } = reply;
    const controller = new AbortController();
    this.#running.set(id, { claim, controller });
    this.#parts.heartbeat.hold(claim);
    try {
      this.#report(claim, await this.#answer(claim, engine, controller));
      return CONSUMED;
    } finally {
      this.#running.delete(id);
      this.#parts.heartbeat.drop(claim);
    }
  }

  /** Computes and commits evidence, or commits the release that says why there is none. */
  async #answer(claim: Claim, engine: Engine, controller: AbortController): Promise<CommitReply | 'lost'> {
    const startedAt = new Date();
    const { signal } = controller;
    const { ticket, signed } = readTicket(claim.id, claim.ticket);
    const sha256 = sha256Hex(signed.payload);
    const { claims, blobs, key } = this.#parts;
    const deadline = setTimeout(
      () => controller.abort(new Stop('deadline')),
      Date.parse(ticket.predicate.deadline) - Date.now(),
    );
    try {
      const input = await this.#input(claim, ticket);
      const result = await this.#generate(claim, ticket, engine, input, signal);
      crashPoint('worker.after-run');
      const output = Buffer.from(result.output);
      if (output.length > MAX_OUTPUT_BYTES) throw new Stop('output_too_large');
      const inline = output.length <= INLINE_BYTES;
      if (!inline && PROMISES.isSealed(ticket.predicate.policy)) throw new Stop('output_too_large');
      const digest = inline ? sha256Hex(output) : await blobs.put(output);
      const tokens =
        PROMISES.needsTokens(ticket.predicate.policy) && result.tokens ? encodeTokens(result.tokens) : undefined;
      const inlineTokens = tokens?.toString('base64') ?? '';
      if (tokens !== undefined && inlineTokens.length > INLINE_BYTES) await blobs.put(tokens);
      const evidence = this.#evidence(
        claim,
        ticket,
        sha256,
        engine,
        result,
        { digest, bytes: output.length },
        tokens && sha256Hex(tokens),
        startedAt,
      );
      const reply = await claims.commitEvidence(
        claim,
        signPayload(key, statementBytes(evidence)),
        inline ? result.output : '',
        inlineTokens.length <= INLINE_BYTES ? inlineTokens : '',
      );
      crashPoint('worker.after-commit');
      return reply;
    } catch (error) {
      const code = releaseCodeOf(signal.aborted ? signal.reason : error);
      if (code === 'lease_lost') return 'lost';
      this.#parts.logger.warn(
        { job: claim.id, epoch: claim.epoch, code },
        `job released: ${messageOf(error).slice(0, 300)}`,
      );
      return await claims.release(
        claim,
        signPayload(key, statementBytes(this.#releaseOf(claim, ticket, sha256, code, error))),
      );
    } finally {
      clearTimeout(deadline);
    }
  }

  async #generate(
    claim: Claim,
    ticket: Ticket,
    engine: Engine,
    input: unknown,
    signal: AbortSignal,
  ): Promise<EngineResult> {
    // A vote is sealed: what is streamed, or lies in a folder that workers share, others could copy.
    const isSealed = PROMISES.isSealed(ticket.predicate.policy);
    const chunks = new ChunkStream(this.#parts.redis, this.#parts.keys, claim, this.#worker.id);
    const run = engine.run(workOf(ticket), input, signal);
    try {
      for (;;) {
        const step = await run.next();
        signal.throwIfAborted();
        if (step.done === true) return step.value;
        if (!isSealed) chunks.write(step.value);
      }
    } finally {
      chunks.flush();
    }
  }

  /** The input, checked against the ticket: neither Redis nor the disk is believed. */
  async #input(claim: Claim, ticket: Ticket): Promise<unknown> {
    const wanted = ticket.subject[0].digest.sha256;
    try {
      const text = claim.input ?? (await this.#parts.blobs.get(wanted, MAX_INPUT_BYTES)).toString('utf8');
      if (sha256Hex(text) !== wanted) throw new Error('The input is not the one of the ticket.');
      return JSON.parse(text);
    } catch {
      throw new Stop('input_missing');
    }
  }

  #evidence(
    claim: Claim,
    ticket: Ticket,
    ticketSha256: string,
    engine: Engine,
    result: EngineResult,
    output: { digest: string; bytes: number },
    tokensSha256: string | undefined,
    startedAt: Date,
  ): Evidence {
    return {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'output', digest: { sha256: output.digest } }],
      predicateType: EVIDENCE_TYPE,
      predicate: {
        job: ticket.predicate.job,
        ticket: { sha256: ticketSha256 },
        epoch: claim.epoch,
        worker: this.#worker,
        model: { name: engine.model.name, sha256: engine.model.sha256, measured: engine.model.measured },
        engine: { name: engine.identity.name, version: engine.identity.version, sha256: engine.identity.sha256 },
        outputBytes: output.bytes,
        usage: { inputTokens: result.usage.inputTokens, outputTokens: result.usage.outputTokens },
        finishReason: result.finishReason,
        ...(tokensSha256 === undefined ? {} : { tokens: { sha256: tokensSha256 } }),
        startedAt: startedAt.toISOString(),
        finishedAt: new Date().toISOString(),
      },
    };
  }

  #releaseOf(claim: Claim, ticket: Ticket, ticketSha256: string, code: ReleaseCode, error: unknown): Release {
    return {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'ticket', digest: { sha256: ticketSha256 } }],
      predicateType: RELEASE_TYPE,
      predicate: {
        job: ticket.predicate.job,
        epoch: claim.epoch,
        worker: this.#worker,
        code,
        detail: error instanceof EngineError ? error.message.slice(0, 300) : '',
        at: new Date().toISOString(),
      },
    };
  }

  #report(claim: Claim, reply: CommitReply | 'lost'): void {
    if (committed.hasSubscribers) committed.publish({ id: claim.id, epoch: claim.epoch, reply });
    if (reply !== 'ok')
      this.#parts.logger.info(
        { job: claim.id, epoch: claim.epoch, reply },
        'the result of this attempt is of no more use',
      );
  }
}

function releaseCodeOf(error: unknown): ReleaseCode | 'lease_lost' {
  if (error instanceof Stop) return error.code;
  if (error instanceof EngineError) return error.code;
  return 'engine_error';
}
