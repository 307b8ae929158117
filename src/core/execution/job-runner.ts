import { channel } from 'node:diagnostics_channel';
import { setTimeout as pause } from 'node:timers/promises';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { count } from '../../ground/metrics/process-metrics.ts';
import { isOutOfRoom } from '../../ground/redis/storage-gate.ts';
import { spanning, type Span } from '../../ground/tracing/spans.ts';
import { signPayload } from '../../proof/receipts/dsse.ts';
import { statementBytes, storedTicket, ticketIn, type ReleaseCode } from '../../proof/receipts/statements.ts';
import { EngineError, workOf, type Engine } from '../engines/engine.ts';
import type { LoadedEngines } from '../engines/loaded-engines.ts';
import { evidenceOf, inputOf, releaseOf, storedResult, type Answer, type Attempt, type Given } from './attempt.ts';
import type { Claim, CommitReply } from './claims.ts';
import type { EnginePlaces, Place } from './engine-places.ts';
import { generate } from './generate.ts';
import type { BlobLink, JobLink, LeaseLink, PieceLink, StorageLink } from './links.ts';
import { beginAttempt, beginGenerating, generated } from './run-spans.ts';
import type { RunTimes } from './run-times.ts';
import { Stop, isEnginesFault, releaseCodeOf } from './stop.ts';

/** Published after each attempt to commit, as `{ id, epoch, reply }`, where tests or metrics subscribe. */
export const committed = channel('countersign.worker.committed');

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
export const MOST_AHEAD = 16;
/** Longer than every worker takes to notice that its disk is full or away. */
const STORAGE_PAUSE_MS = 2_500;
const ROOM_PAUSE_MS = 500;

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
  /** Runs that have not ended, those that are being claimed among them; of all models, and of each. */
  #runs = 0;
  readonly #runsOf = new Map<string, number>();
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

  /** How many jobs of one model run now, are held ready or are being claimed. */
  atWork(model: string): number {
    return this.#runsOf.get(model) ?? 0;
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
    this.#count(engine.model.name, 1);
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
      this.#count(engine.model.name, -1);
      place?.leave();
    }
  }

  #count(model: string, by: number): void {
    this.#runs += by;
    this.#runsOf.set(model, this.atWork(model) + by);
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
    const signed = storedTicket(claim.id, claim.ticket);
    const given = { claim, sha256: sha256Hex(signed.payload) };
    try {
      return await this.#run(held, { ...given, ticket: ticketIn(claim.id, signed) }, engine, place, places);
    } catch (error) {
      return await this.#release(given, controller.signal, error);
    }
  }

  async #run(
    held: Held,
    attempt: Attempt,
    engine: Engine,
    place: Place | undefined,
    places: EnginePlaces,
  ): Promise<CommitReply> {
    const { claim, controller } = held;
    const { signal } = controller;
    const { ticket } = attempt;
    const leftMs = claim.remainingMs ?? Date.parse(ticket.predicate.deadline) - Date.now();
    const deadline = setTimeout(() => controller.abort(new Stop('deadline')), leftMs);
    const deadlineMs = performance.now() + leftMs;
    try {
      const input = await inputOf(attempt, this.#parts.blobs);
      const answer = await this.#inPlace(held, place ?? (await places.take(signal)), deadlineMs, (begun) =>
        spanning(
          beginGenerating(held.span, engine, workOf(ticket)),
          () => this.#timed(attempt, engine, input, signal, begun),
          ({ result }) => generated(result),
        ),
      );
      crashPoint('worker.after-run');
      const stored = await storedResult(this.#parts.blobs, ticket, answer.result);
      const evidence = evidenceOf(this.#worker, attempt, engine, answer, stored);
      const signed = signPayload(this.#parts.key, statementBytes(evidence));
      const commit = () => this.#parts.claims.commitEvidence(claim, signed, stored.inlineOutput, stored.inlineTokens);
      const reply = await whenThereIsRoom(commit, signal);
      crashPoint('worker.after-commit');
      return reply;
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

  /** Gives the job back, unless the lease is lost: then the attestor has closed this epoch already. */
  async #release(given: Given, signal: AbortSignal, error: unknown): Promise<CommitReply | 'lost'> {
    const { claim } = given;
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
    const release = statementBytes(releaseOf(this.#worker, given, code, error));
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
    const { engines, pieces, times } = this.#parts;
    const result = await generate(pieces, attempt, engine, input, signal, begun).catch((error: unknown) => {
      if (isEnginesFault(error, performance.now() - began, times.meanMs(name))) engines.failed(name, error);
      throw error;
    });
    times.note(name, performance.now() - began);
    this.#takenBack.delete(name);
    engines.answered(name);
    return { result, startedAt, finishedAt: new Date() };
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
