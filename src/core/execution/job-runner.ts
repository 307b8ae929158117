import { channel } from 'node:diagnostics_channel';
import { setTimeout as pause } from 'node:timers/promises';
import { count } from '../../ground/metrics/process-metrics.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { isStorageError } from '../../ground/blobs/storage-error.ts';
import { encodeTokens } from '../engines/token-ids.ts';
import { EngineError, workOf, type Engine, type EngineResult } from '../engines/engine.ts';
import type { LoadedEngines } from '../engines/loaded-engines.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { spanning, type Span } from '../../ground/tracing/spans.ts';
import { isOutOfRoom } from '../../ground/redis/storage-gate.ts';
import { outputFault } from '../../proof/tasks/output-fault.ts';
import { INLINE_BYTES, MAX_INPUT_BYTES, MAX_OUTPUT_BYTES, textOfOutput } from '../../proof/tasks/task-input.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import type { Task } from '../../proof/receipts/fields.ts';
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
import type { Claim, CommitReply } from './claims.ts';
import type { EnginePlaces, Place } from './engine-places.ts';
import type { BlobLink, JobLink, LeaseLink, PieceLink, StorageLink } from './links.ts';
import { beginAttempt, beginGenerating, generated } from './run-spans.ts';
import { RunTimes } from './run-times.ts';
import { SteadyPieces } from './steady-pieces.ts';

/** Published after each attempt to commit, as `{ id, epoch, reply }`, where tests or metrics subscribe. */
export const committed = channel('countersign.worker.committed');

/** Why a running job must stop. */
export class Stop extends Error {
  override readonly name = 'Stop';
  readonly code: ReleaseCode | 'lease_lost';

  constructor(code: ReleaseCode | 'lease_lost') {
    super(`The job was stopped: ${code}.`);
    this.code = code;
  }
}

export interface RunnerParts {
  readonly claims: JobLink;
  readonly pieces: PieceLink;
  readonly blobs: BlobLink;
  readonly storage: StorageLink;
  readonly heartbeat: LeaseLink;
  readonly times: RunTimes;
  /** Hears what becomes of the runs of each model. */
  readonly engines: Pick<LoadedEngines, 'answered' | 'failed'>;
  readonly key: SigningKey;
  readonly logger: Logger;
}

/** What becomes of a delivery: it is used up, or is to be delivered again after `afterMs`. */
export type Outcome = { readonly kind: 'consumed' } | { readonly kind: 'later'; readonly afterMs: number };

const CONSUMED: Outcome = { kind: 'consumed' };
/** What is claimed of a pack at once takes no longer: what waits here runs nowhere else. */
const AHEAD_MS = 5;
/**
 * Of jobs that take longer nothing is held ready: their engines idle for a small part of the time, and others
 * would wait for them for long.
 */
const READY_MS = 1_000;
/** Jobs of which it is remembered that they were given back for want of time. */
const MOST_IN_VAIN = 1_000;
/** An engine that has taken so many times longer than it does on average hangs. */
const HANGS = 10;
export const MOST_AHEAD = 16;
/** Longer than every worker takes to notice that its disk is full or away. */
const STORAGE_PAUSE_MS = 2_500;
const ROOM_PAUSE_MS = 500;

/** A claim with its ticket, and the digest of the ticket's payload. */
interface Attempt {
  readonly claim: Claim;
  readonly ticket: Ticket;
  readonly sha256: string;
}

/** What was claimed, its beginning still to be said where it is ready. */
interface Claimed {
  readonly claim: Claim;
  readonly isReady?: boolean;
  readonly span: Span | undefined;
}

/** A claim that is worked on. It is ready until its engine begins. */
interface Held {
  readonly claim: Claim;
  readonly model: string;
  readonly controller: AbortController;
  /** Of this attempt; absent where its job is not traced. */
  readonly span: Span | undefined;
  isReady: boolean;
}

/** What an engine generated, and when. */
interface Answer {
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

/**
 * Runs deliveries. Each is claimed, computed and committed before `run` returns. A crash between two of these
 * steps leaves one of three things: no claim, and the delivery comes again; or a claim whose lease runs out,
 * and the attestor closes the epoch and queues the job again; or evidence that is in the attestor's stream
 * already.
 */
export class JobRunner {
  readonly #held = new Map<string, Held>();
  readonly #parts: RunnerParts;
  /** Models of which a claim was taken back, until a run of theirs has ended. */
  readonly #takenBack = new Set<string>();
  /** What is given back from now on, even where its claim is answered only later. */
  #leaves: 'unbegun' | 'all' | undefined;
  /** Runs that have not ended, those that are being claimed among them. */
  #runs = 0;
  /** Jobs that were given back because they would not finish: whoever decides otherwise sends them again. */
  readonly #inVain = new Set<string>();
  readonly #worker: { id: string; publicKey: string };

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#worker = { id: workerIdOf(parts.key.public), publicKey: parts.key.public.raw };
  }

  /** How many jobs run now, are held ready or are being claimed. */
  get inFlight(): number {
    return this.#runs;
  }

  /** How many jobs are being claimed: whether this worker holds them is not known yet. */
  get claiming(): number {
    return this.#runs - this.#held.size;
  }

  /** Stops a job that is held here; does nothing for any other, nor where it is held under another lease. */
  stop(id: string, code: Stop['code'], lease?: string): void {
    const held = this.#held.get(id);
    if (held === undefined) return;
    if (lease !== undefined && this.#parts.heartbeat.leaseOf(held.claim) !== lease) return;
    if (held.isReady && code === 'lease_lost') this.#takenBack.add(held.model);
    held.controller.abort(new Stop(code));
  }

  stopAll(code: ReleaseCode): void {
    for (const id of this.#held.keys()) this.stop(id, code);
  }

  /** Gives back what has not begun, or all, from now on: what is being claimed now as soon as it is known. */
  leave(what: 'unbegun' | 'all'): void {
    this.#leaves = what;
    for (const held of this.#held.values()) this.#giveBack(held);
  }

  #giveBack({ isReady, controller }: Held): void {
    if (this.#leaves === 'all' || (this.#leaves === 'unbegun' && isReady)) controller.abort(new Stop('drained'));
  }

  /** Gives back what has not begun of one model. */
  stopReady(code: ReleaseCode, model: string): void {
    for (const [id, held] of this.#held) if (held.isReady && held.model === model) this.stop(id, code);
  }

  /**
   * Runs one job to its end, its engine in one of these places: in one that is free now, or, held ready until
   * then, in the next. Any number of calls at once; what fails in the engine is released and not thrown.
   */
  async run(id: string, engine: Engine, places: EnginePlaces): Promise<Outcome> {
    const place = places.tryTake();
    this.#runs += 1;
    try {
      crashPoint('worker.before-claim');
      const askedMs = Date.now();
      const reply = await this.#parts.claims.claim(id, freshRandom(8).toString('hex'), place !== undefined);
      if (reply.kind === 'useless') return CONSUMED;
      if (reply.kind === 'later') return { kind: 'later', afterMs: reply.afterMs };
      crashPoint('worker.after-claim');
      const span = beginAttempt(reply.claim, engine.model.name, askedMs);
      await this.#work({ ...reply, span }, engine, place, places);
      return CONSUMED;
    } finally {
      this.#runs -= 1;
      place?.leave();
    }
  }

  async #work(
    { claim, isReady = false, span }: Claimed,
    engine: Engine,
    place: Place | undefined,
    places: EnginePlaces,
  ): Promise<void> {
    const controller = new AbortController();
    const held: Held = { claim, model: engine.model.name, controller, span, isReady: isReady || place === undefined };
    this.#held.set(claim.id, held);
    this.#parts.heartbeat.hold(claim);
    this.#giveBack(held);
    try {
      const reply = await spanning(
        span,
        () => this.#answer(held, engine, place, places),
        (outcome) => ({ 'countersign.outcome': outcome }),
      );
      this.#report(claim, reply);
    } finally {
      this.#held.delete(claim.id);
      this.#parts.heartbeat.drop(claim);
    }
  }

  /** Commits the evidence of an answer, or the release that says why there is none. */
  async #answer(
    held: Held,
    engine: Engine,
    place: Place | undefined,
    places: EnginePlaces,
  ): Promise<CommitReply | 'lost'> {
    const { claim, controller } = held;
    const { signal } = controller;
    const { ticket, signed: signedTicket } = readTicket(claim.id, claim.ticket);
    const attempt = { claim, ticket, sha256: sha256Hex(signedTicket.payload) };
    const leftMs = claim.remainingMs ?? Date.parse(attempt.ticket.predicate.deadline) - Date.now();
    const deadline = setTimeout(() => controller.abort(new Stop('deadline')), leftMs);
    const deadlineMs = performance.now() + leftMs;
    try {
      const input = await this.#input(attempt);
      const answer = await this.#inPlace(held, place ?? (await places.take(signal)), deadlineMs, (begun) =>
        spanning(
          beginGenerating(held.span, engine, workOf(ticket)),
          () => this.#timed(attempt, engine, input, signal, begun),
          ({ result }) => generated(result),
        ),
      );
      crashPoint('worker.after-run');
      const stored = await this.#store(attempt.ticket, answer.result);
      const evidence = this.#evidence(attempt, engine, answer, stored);
      const signed = signPayload(this.#parts.key, statementBytes(evidence));
      const commit = () => this.#parts.claims.commitEvidence(claim, signed, stored.inlineOutput, stored.inlineTokens);
      const reply = await whenThereIsRoom(commit, signal);
      crashPoint('worker.after-commit');
      return reply;
    } catch (error) {
      return await this.#release(attempt, signal, error);
    } finally {
      clearTimeout(deadline);
    }
  }

  /**
   * Works in a place and leaves it as soon as the engine has ended. Says that it began where nobody knows
   * yet.
   */
  async #inPlace(
    held: Held,
    place: Place,
    deadlineMs: number,
    work: (begun: Promise<void> | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      this.#requireTime(held, deadlineMs - performance.now());
      const begun = held.isReady ? this.#begin(held) : undefined;
      held.isReady = false;
      return await work(begun);
    } finally {
      place.leave();
    }
  }

  /**
   * Throws Stop `would_not_finish` where less time is left than any run of the model takes here. The attestor
   * decides what becomes of the job; where it sends it again, it is begun.
   */
  #requireTime({ claim: { id }, model }: Held, leftMs: number): void {
    if (leftMs >= this.#parts.times.leastMs(model) || this.#inVain.has(id)) return;
    this.#inVain.add(id);
    const [oldest] = this.#inVain;
    if (this.#inVain.size > MOST_IN_VAIN && oldest !== undefined) this.#inVain.delete(oldest);
    throw new Stop('would_not_finish');
  }

  /** Says that the engine begins. What this worker does not hold any more is stopped; it never throws. */
  async #begin({ claim, model, controller }: Held): Promise<void> {
    try {
      if ((await this.#parts.claims.begin(claim)) === 'ok') return;
      this.#takenBack.add(model);
      controller.abort(new Stop('lease_lost'));
    } catch (error) {
      // The commit says it as well.
      this.#parts.logger.debug({ job: claim.id }, `not said to have begun: ${messageOf(error).slice(0, 200)}`);
    }
  }

  /**
   * Stores what is too large to stand beside the evidence as blobs, and returns the digests. Throws Stop
   * `output_too_large`.
   */
  async #store(ticket: Ticket, result: EngineResult): Promise<StoredResult> {
    const { policy, job } = ticket.predicate;
    const blobs = this.#parts.blobs.of(job);
    const output = Buffer.from(result.output);
    const isInline = output.length <= INLINE_BYTES;
    // A vote is sealed until all have voted, and workers share the folder of blobs.
    if (output.length > MAX_OUTPUT_BYTES || (!isInline && PROMISES.isSealed(policy)))
      throw new Stop('output_too_large');
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

  /** Gives the job back, unless the lease is lost: then the attestor has closed this epoch already. */
  async #release(attempt: Attempt, signal: AbortSignal, error: unknown): Promise<CommitReply | 'lost'> {
    const { claim } = attempt;
    const code = releaseCodeOf(signal.aborted ? signal.reason : error);
    if (code === 'storage_unavailable') {
      this.#parts.storage.wake();
      // Workers that share the disk learn of it before the job comes to them.
      await pause(STORAGE_PAUSE_MS);
    }
    if (code === 'lease_lost') return 'lost';
    this.#parts.logger.warn(
      { job: claim.id, epoch: claim.epoch, code, ...(error instanceof EngineError ? { err: error.cause } : {}) },
      `job released: ${messageOf(error).slice(0, 300)}`,
    );
    const release = statementBytes(this.#releaseOf(attempt, code, error));
    const signed = signPayload(this.#parts.key, release);
    return whenThereIsRoom(() => this.#parts.claims.release(claim, signed), signal);
  }

  /**
   * Whether jobs of further deliveries are claimed while their engine still works, for it to begin at once:
   * where it will end soon, where the jobs of one pack do not feed it already, and where no other worker had
   * to take one back.
   */
  holdsReady(model: string): boolean {
    const endsSoon = (this.#parts.times.meanMs(model) ?? Infinity) <= READY_MS;
    return endsSoon && this.claimAhead(model) === 1 && !this.#takenBack.has(model);
  }

  /** How many jobs of a pack may be claimed at once: those whose turn comes in a moment. */
  claimAhead(model: string): number {
    const ms = this.#parts.times.meanMs(model);
    return ms === undefined ? 1 : Math.max(1, Math.min(MOST_AHEAD, Math.floor(AHEAD_MS / Math.max(ms, 0.1))));
  }

  async #timed(
    attempt: Attempt,
    engine: Engine,
    input: unknown,
    signal: AbortSignal,
    begun: Promise<void> | undefined,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const startedAt = new Date();
    const began = performance.now();
    const { name } = engine.model;
    const { engines, times } = this.#parts;
    const result = await this.#generate(attempt, engine, input, signal, begun).catch((error: unknown) => {
      if (isEnginesFault(error, performance.now() - began, times.meanMs(name))) engines.failed(name, error);
      throw error;
    });
    times.note(name, performance.now() - began);
    this.#takenBack.delete(name);
    engines.answered(name);
    return { result, startedAt, finishedAt: new Date() };
  }

  /**
   * Runs the engine and streams what it writes. Throws EngineError where the answer is none that could be
   * confirmed, or begins otherwise than what was streamed of it: this worker signs neither.
   */
  async #generate(
    { claim, ticket }: Attempt,
    engine: Engine,
    input: unknown,
    signal: AbortSignal,
    begun: Promise<void> | undefined,
  ): Promise<EngineResult> {
    // A vote is sealed: another worker could copy what is streamed.
    const isSealed = PROMISES.isSealed(ticket.predicate.policy);
    const chunks = new ChunkStream(this.#parts.pieces, claim, begun);
    const work = workOf(ticket);
    const pieces = new SteadyPieces(work.params.stop);
    const show = (text: string) => {
      if (!isSealed && text !== '') chunks.write(text);
    };
    const run = engine.run(work, input, signal);
    try {
      for (;;) {
        const step = await run.next();
        signal.throwIfAborted();
        if (step.done === true) {
          const rest = restOf(work.task, step.value, pieces);
          // What an engine does not stream comes with the confirmed answer.
          if (pieces.isBegun) show(rest);
          return step.value;
        }
        show(pieces.push(step.value));
      }
    } finally {
      chunks.flush();
    }
  }

  /** The input, checked against the digest in the ticket: neither Redis nor the disk is trusted. */
  async #input({ claim, ticket }: Attempt): Promise<unknown> {
    const wanted = ticket.subject[0].digest.sha256;
    try {
      const text = claim.input ?? (await this.#parts.blobs.of(claim.id).get(wanted, MAX_INPUT_BYTES)).toString('utf8');
      if (sha256Hex(text) !== wanted) throw new Error('The input is not the one of the ticket.');
      return JSON.parse(text);
    } catch (error) {
      if (isStorageError(error)) throw error;
      throw new Stop('input_missing');
    }
  }

  #evidence(
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
        worker: this.#worker,
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

  #releaseOf({ claim, ticket, sha256 }: Attempt, code: ReleaseCode, error: unknown): Release {
    return {
      _type: STATEMENT_TYPE,
      subject: [{ name: 'ticket', digest: { sha256 } }],
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
    if (reply === 'ok') count('countersign_worker_commits_total');
    if (committed.hasSubscribers) committed.publish({ id: claim.id, epoch: claim.epoch, reply });
    if (reply !== 'ok')
      this.#parts.logger.info(
        { job: claim.id, epoch: claim.epoch, reply },
        'the result of this attempt is no longer needed',
      );
  }
}

/**
 * Whether it was not the job that made its run fail: an error or a silence of the engine, and no refusal of
 * what it was asked. A deadline that passes is the engine's fault where it has taken much longer than usual.
 */
function isEnginesFault(error: unknown, ranMs: number, meanMs: number | undefined): boolean {
  if (error instanceof Stop) return error.code === 'deadline' && ranMs > HANGS * (meanMs ?? Infinity);
  const code = releaseCodeOf(error);
  return code === 'engine_error' || code === 'engine_overloaded';
}

/** What was not streamed yet of an answer that can be confirmed. Throws EngineError where it cannot. */
function restOf(task: Task, { output, finishReason }: EngineResult, pieces: SteadyPieces): string {
  const fault = outputFault(task, output, finishReason);
  if (fault !== undefined)
    throw new EngineError('engine_error', `What the engine answered is no answer: ${fault.slice(0, 200)}`);
  const rest = pieces.end(textOfOutput(JSON.parse(output)));
  if (rest === undefined) throw new EngineError('engine_error', 'The engine answered otherwise than it had begun to.');
  return rest;
}

/**
 * Writes once Redis takes it: a Redis without room refuses what it is sent, and what was computed must not be
 * lost for that. It gives up where the lease is lost.
 */
async function whenThereIsRoom<Reply>(write: () => Promise<Reply>, signal: AbortSignal): Promise<Reply> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      const isLost = signal.reason instanceof Stop && signal.reason.code === 'lease_lost';
      if (isLost || !isOutOfRoom(error)) throw error;
      await pause(ROOM_PAUSE_MS);
    }
  }
}

function releaseCodeOf(error: unknown): ReleaseCode | 'lease_lost' {
  if (error instanceof Stop) return error.code;
  if (error instanceof EngineError) return error.code;
  if (isStorageError(error)) return 'storage_unavailable';
  // The process of the engines is away or has ended: other jobs may be to blame.
  if (error instanceof CodedError && error.code === 'engine_away') return 'engine_away';
  return 'engine_error';
}
