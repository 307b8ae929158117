import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import type { BatchAnswers, HeldBatch, KnownAnswers } from './batch-answers.store.ts';
import type { BatchFiles } from './batch-files.store.ts';
import { BatchJobs, refusalOf, type LineParts } from './batch-jobs.ts';
import { MAX_LINE_BYTES, isLineError, linesOf, readLine, type BatchLine } from './batch-line.ts';
import { partOf } from './batch-part.ts';
import { readBatchRequest, type BatchRequest } from './batch-request.ts';
import { storeResults } from './batch-results.ts';
import { validateInput } from './batch-validation.ts';
import type { BatchRecord, Batches, LineError } from './batch.store.ts';
import type { EndWatch } from './end-watch.ts';
import type { FairTurns } from './fair-turns.ts';
import { answeredLine, failedLine, lineRef, unrunLine, type LineResult, type StopReason } from './line-result.ts';
import { OpenParts } from './open-parts.ts';
import { SubmissionPace } from './submission-pace.ts';

/** Lines of a batch whose jobs run or wait at once. They wait in the backlog, and take no place here. */
const MAX_OPEN_LINES = 128;
/** A line that fails by no fault that has a name is tried so often. */
const MAX_FAULTS = 5;

/** What running batches needs. */
export interface BatchParts extends LineParts {
  readonly batches: Batches;
  readonly files: BatchFiles;
  readonly answers: BatchAnswers;
  readonly watch: EndWatch;
  /** Turns to submit lines, and turns to read their answers. */
  readonly submissions: FairTurns;
  readonly readings: FairTurns;
}

/** A line that is to be submitted. */
interface NewLine extends BatchLine {
  readonly number: number;
  readonly bytes: number;
  faults: number;
}

/** A line whose jobs are accepted. */
interface OpenLine {
  readonly number: number;
  readonly customId: string;
  readonly jobs: readonly string[];
  /** Makes the line's result of its answers; throws CodedErrors. Absent where nobody knows what was asked. */
  readonly answer?: BatchRequest['answer'];
  /** Why the line fails whatever its jobs answer. */
  readonly failure?: CodedError;
  readonly watching: Disposable[];
}

/**
 * Runs one batch. What is certain is in Redis: each line's answer, kept once under the lease, and the jobs
 * that lines have, found by their idempotency keys. Everything else can be repeated. A stop looks at the jobs
 * of every line first: those that have ended are answers, the others are cancelled, and the batch ends when
 * all of them have.
 */
export class BatchRun {
  readonly #parts: BatchParts;
  readonly #logger: Logger;
  readonly #batch: BatchRecord;
  readonly #held: HeldBatch;
  readonly #jobs: BatchJobs;
  readonly #open = new Map<number, OpenLine>();
  readonly #again: NewLine[] = [];
  readonly #pace = new SubmissionPace();
  readonly #openParts = new OpenParts();
  /** Aborted when this process may not go on with the batch. */
  readonly #left = new AbortController();
  /** Aborted when the lines are not read on. */
  readonly #halted = new AbortController();
  #known: KnownAnswers = { parts: new Map(), lines: new Set() };
  #reason: StopReason | undefined;
  /** Whether every line has its answer: from then on nothing stops the batch. */
  #isAnswered: boolean;
  /** Lines that are being submitted, their bytes, and writings under way. */
  #submitting = 0;
  #heldBytes = 0;
  #writing = 0;
  #total = 0;
  #wake: () => void = () => undefined;

  constructor(parts: BatchParts, logger: Logger, batch: BatchRecord, held: HeldBatch) {
    this.#parts = parts;
    this.#logger = logger;
    this.#batch = batch;
    this.#held = held;
    this.#jobs = new BatchJobs(parts, batch);
    this.#isAnswered = batch.status === 'finalizing' && batch.stop === undefined;
    if (batch.stop !== undefined || batch.status === 'cancelling') this.stop(batch.stop ?? 'cancelled');
  }

  /** Gives the batch up: the lease is lost, or the process stops. Nothing is written from then on. */
  leave(): void {
    this.#left.abort();
    this.#halted.abort();
    this.#wake();
  }

  /** No line is submitted from now on; the first reason stays. */
  stop(reason: StopReason): void {
    if (this.#isAnswered) return;
    this.#reason ??= reason;
    this.#halted.abort();
    this.#wake();
  }

  /** Resolves when the batch is over or was left. Call it once. Throws what keeps it from going on now. */
  async run(): Promise<void> {
    try {
      const { status } = this.#batch;
      if (status === 'validating' && this.#reason === undefined && !(await this.#validate())) return;
      const errors = this.#isAnswered ? [] : await this.#runLines();
      if (!this.#left.signal.aborted) await this.#finalize(errors);
    } finally {
      this.leave();
      for (const { watching } of this.#open.values()) for (const one of watching) one[Symbol.dispose]();
    }
  }

  /** Gets every line its answer, or runs the stop. Returns what was wrong with the input. */
  async #runLines(): Promise<LineError[]> {
    await this.#submitLines();
    await this.#settle(() => this.#reason !== undefined);
    if (this.#reason === undefined && !this.#left.signal.aborted) {
      this.#isAnswered = await this.#parts.batches.move(this.#batch.id, 'finalizing', {}, this.#held.holder);
      if (!this.#isAnswered) await this.#heedStatus();
    }
    return this.#reason === undefined || this.#left.signal.aborted ? [] : this.#runStop(this.#reason);
  }

  /** Errors in the form of the input fail the batch before anything runs. Returns whether it goes on. */
  async #validate(): Promise<boolean> {
    const { batches, files } = this.#parts;
    const { id, endpoint, inputSha256 } = this.#batch;
    const { errors, total, model } = await validateInput(
      linesOf(files.blobs.read(inputSha256)),
      endpoint,
      this.#halted.signal,
    );
    if (this.#left.signal.aborted) return false;
    if (this.#reason !== undefined) return true;
    if (errors.length > 0) {
      await batches.end(this.#held, 'failed', { errors: JSON.stringify(errors), total }, []);
      return false;
    }
    const fields = { total, ...(model === undefined ? {} : { model }) };
    if (!(await batches.move(id, 'in_progress', fields, this.#held.holder))) await this.#heedStatus();
    return !this.#left.signal.aborted;
  }

  /** A move was refused: by a cancellation that came before it, or because the lease is lost. */
  async #heedStatus(): Promise<void> {
    const record = await this.#parts.batches.read(this.#batch.id);
    if (record?.status === 'cancelling') this.#reason = record.stop ?? 'cancelled';
    else this.leave();
  }

  /** Submits every line that has no answer; ends with the input, at a stop, or when the batch is left. */
  async #submitLines(): Promise<void> {
    if (this.#isHalted()) return;
    this.#known = await this.#parts.answers.known(this.#batch.id);
    const input = this.#unanswered();
    let isAtEnd = false;
    while (!this.#isHalted()) {
      const waitMs = this.#waitMs(isAtEnd);
      if (waitMs === undefined) break;
      if (waitMs > 0) {
        await this.#change(waitMs);
        continue;
      }
      const line = this.#again.shift() ?? (await input.next()).value;
      if (line === undefined) {
        isAtEnd = true;
        for (const index of this.#openParts.end()) this.#writePart(index);
      } else this.#begin(line);
    }
    await input.return(undefined);
  }

  #isHalted(): boolean {
    return this.#halted.signal.aborted;
  }

  /** How long to wait (ms) before the next line; undefined when there is none and none comes back. */
  #waitMs(isAtEnd: boolean): number | undefined {
    const isMore = this.#again.length > 0 || !isAtEnd;
    if (!isMore) return this.#submitting > 0 ? Infinity : undefined;
    const isFull =
      this.#open.size + this.#submitting >= MAX_OPEN_LINES ||
      this.#heldBytes >= MAX_LINE_BYTES ||
      (this.#again.length === 0 && !this.#openParts.hasRoom);
    return isFull ? Infinity : this.#pace.waitMs(this.#submitting, performance.now());
  }

  /** The lines without an answer, in their order, read from the disk as they are asked for. */
  async *#unanswered(): AsyncGenerator<NewLine, undefined> {
    for await (const { number, line, bytes } of this.#input()) {
      if (this.#known.parts.has(partOf(number))) continue;
      const isAnswered = this.#known.lines.has(number);
      const complete = this.#openParts.read({ number, customId: line.customId }, isAnswered);
      if (complete !== undefined) this.#writePart(complete);
      if (!isAnswered) yield { ...line, number, bytes, faults: 0 };
    }
    return undefined;
  }

  /** The lines of the input, each with its number. */
  async *#input(): AsyncGenerator<{ number: number; line: BatchLine; bytes: number }> {
    let number = 0;
    for await (const bytes of linesOf(this.#parts.files.blobs.read(this.#batch.inputSha256))) {
      number += 1;
      this.#total = Math.max(this.#total, number);
      const line = bytes === undefined ? undefined : readLine(bytes, number, this.#batch.endpoint);
      if (line !== undefined && !isLineError(line)) yield { number, line, bytes: bytes?.length ?? 0 };
    }
  }

  #begin(line: NewLine): void {
    this.#submitting += 1;
    this.#heldBytes += line.bytes;
    void this.#submit(line).finally(() => {
      this.#submitting -= 1;
      this.#heldBytes -= line.bytes;
      this.#wake();
    });
  }

  async #submit(line: NewLine): Promise<void> {
    const { number, customId } = line;
    const fail = (error: CodedError) => this.#keep(line, failedLine(this.#refOf(line), error), []);
    let asked: BatchRequest;
    try {
      asked = readBatchRequest(this.#batch.endpoint, line.body);
    } catch (error) {
      return fail(asCoded(error));
    }
    const { tenant, id } = this.#batch;
    try {
      const jobs = await this.#parts.submissions.take(tenant, id, async () =>
        this.#halted.signal.aborted ? undefined : this.#jobs.submit(number, asked),
      );
      // A stop finds the jobs of this line, if it has any.
      if (jobs === undefined) return;
      this.#pace.accepted();
      crashPoint('courier.after-submit');
      this.#follow({ number, customId, jobs, answer: asked.answer });
    } catch (error) {
      const { passes, afterMs } = refusalOf(error, Date.now());
      if (!(error instanceof CodedError)) line.faults += 1;
      if (passes && line.faults < MAX_FAULTS) {
        this.#pace.refused(performance.now(), afterMs);
        this.#again.push(line);
        return;
      }
      // Some of its jobs may have been accepted before one was refused.
      const failure = asCoded(error);
      await this.#persist(async () => {
        const [jobs = []] = await this.#jobs.close([{ number, jobs: asked.jobs.length }]);
        await this.#jobs.cancel(jobs);
        if (jobs.length > 0) this.#follow({ number, customId, jobs, answer: asked.answer, failure });
        else await fail(failure);
      });
    }
  }

  /** Waits for the ends of a line's jobs, which takes no place and no turn. */
  #follow(line: Omit<OpenLine, 'watching'>): void {
    let left = line.jobs.length;
    const watching = line.jobs.map((job) =>
      this.#parts.watch.watch(job, () => {
        left -= 1;
        if (left === 0) void this.#persist(() => this.#read(open));
      }),
    );
    const open: OpenLine = { ...line, watching };
    this.#open.set(line.number, open);
    this.#wake();
  }

  /** Reads what the jobs of a line answered, and keeps it. */
  async #read(line: OpenLine): Promise<void> {
    const { tenant, id } = this.#batch;
    await this.#parts.readings.take(tenant, id, async () => {
      if (this.#left.signal.aborted) return;
      const outcomes = await this.#jobs.outcomes(line.jobs, this.#left.signal);
      const done = outcomes.flatMap((one) => ('done' in one ? [one.done] : []));
      const [error] = outcomes.flatMap((one) => ('error' in one ? [one.error] : []));
      await this.#keep(line, this.#resultOf(line, done, line.failure ?? error), line.jobs);
      this.#open.delete(line.number);
      this.#pace.freed(performance.now());
      this.#wake();
    });
  }

  #resultOf(line: OpenLine, done: Parameters<typeof answeredLine>[1], error: CodedError | undefined): LineResult {
    const ref = this.#refOf(line);
    if (error !== undefined || line.answer === undefined) {
      const isByStop = error === undefined || ['job_cancelled', 'job_expired'].includes(error.code);
      if (error === undefined || (isByStop && this.#reason !== undefined))
        return unrunLine(ref, this.#reason ?? 'cancelled', done);
      return failedLine(ref, error, done);
    }
    try {
      return answeredLine(ref, done, line.answer(done));
    } catch (unfit) {
      return failedLine(ref, asCoded(unfit), done);
    }
  }

  async #keep(line: Pick<OpenLine, 'number' | 'customId'>, result: LineResult, jobs: readonly string[]): Promise<void> {
    await this.#persist(async () => {
      crashPoint('courier.before-line');
      const isHeld = await this.#parts.answers.keep(this.#held, line, result, jobs);
      crashPoint('courier.after-line');
      if (!isHeld) {
        this.leave();
        return;
      }
      const complete = this.#openParts.answered(line.number);
      if (complete !== undefined) this.#writePart(complete);
    });
  }

  /** Writes a complete part in place of its lines. */
  #writePart(index: number): void {
    const lines = this.#openParts.linesOf(index);
    void this.#persist(async () => {
      crashPoint('courier.before-part');
      const isHeld = await this.#parts.answers.keepPart(this.#held, index, lines, (line) =>
        unrunLine(this.#refOf(line), this.#reason ?? 'cancelled'),
      );
      crashPoint('courier.after-part');
      this.#openParts.close(index);
      if (!isHeld) this.leave();
    });
  }

  /** Tries until it succeeds or the batch is left: the disk is full, Redis is away. */
  async #persist(step: () => Promise<void>): Promise<void> {
    this.#writing += 1;
    for (let failures = 1; !this.#left.signal.aborted; failures += 1) {
      try {
        await step();
        break;
      } catch (error) {
        this.#logger.warn({ batch: this.#batch.id }, `a batch waits: ${messageOf(error).slice(0, 300)}`);
        await sleep(growingPause(failures), undefined, { signal: this.#left.signal }).catch(() => undefined);
      }
    }
    this.#writing -= 1;
    this.#wake();
  }

  /** Resolves when nothing is under way any more; or when the batch is left, or `isEnough`. */
  async #settle(isEnough: () => boolean): Promise<void> {
    while (!this.#left.signal.aborted && !isEnough() && this.#open.size + this.#submitting + this.#writing > 0)
      await this.#change(Infinity);
  }

  /**
   * Looks at the jobs of every line that has no answer, cancels those that still run, and waits for their
   * ends. Writes what is said of the other lines. Returns what was wrong with the input, if it cannot be
   * read.
   */
  async #runStop(reason: StopReason): Promise<LineError[]> {
    const { batches, answers } = this.#parts;
    const { id } = this.#batch;
    while (this.#submitting > 0 && !this.#left.signal.aborted) await this.#change(Infinity);
    const to = reason === 'expired' ? 'finalizing' : 'cancelling';
    const record = await batches.read(id);
    if (record === undefined) throw new Error('The batch is gone.');
    if (record.stop === undefined && record.status !== 'finalizing' && record.status !== 'cancelling')
      if (!(await batches.move(id, to, { stop: reason }, this.#held.holder))) await this.#heedStatus();
    for (const { jobs } of [...this.#open.values()]) await this.#jobs.cancel(jobs);
    const lost = await this.#unlessUnreadable(() => this.#closeLines());
    if (lost.length > 0) await this.#closeUnread();
    crashPoint('courier.after-stop');
    await this.#settle(() => false);
    this.#known = await answers.known(id);
    if (lost.length === 0 && !this.#left.signal.aborted) await this.#writeRest();
    else if (!this.#left.signal.aborted) await this.#writeKnown();
    return lost;
  }

  /** Runs what reads the input. Returns an error of the batch where the input is gone. */
  async #unlessUnreadable(step: () => Promise<void>): Promise<LineError[]> {
    try {
      await step();
      return [];
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'blob_missing') throw error;
      const message = 'The input file can no longer be read; lines that had no answer are not listed.';
      return [{ code: 'file_unreadable', message, line: null, param: null }];
    }
  }

  /**
   * Finds the jobs of the lines that have no answer, part by part, and sees to it that no other courier makes
   * one later. Lines are submitted in their order: beyond a whole part that has nothing, there is nothing.
   */
  async #closeLines(): Promise<void> {
    this.#known = await this.#parts.answers.known(this.#batch.id);
    let part: { number: number; customId: string; jobs: number; answer: BatchRequest['answer'] }[] = [];
    let index = 0;
    let isEmpty = false;
    for await (const { number, line } of this.#input()) {
      if (partOf(number) !== index) {
        isEmpty = (await this.#closePart(index, part)) && !this.#known.parts.has(index);
        part = [];
        index = partOf(number);
      }
      if (isEmpty || this.#left.signal.aborted) return;
      if (this.#known.parts.has(index) || this.#known.lines.has(number) || this.#open.has(number)) continue;
      const asked = askedBy(this.#batch, line);
      if (asked !== undefined)
        part.push({ number, customId: line.customId, jobs: asked.jobs.length, answer: asked.answer });
    }
    await this.#closePart(index, part);
  }

  /** Returns whether none of the part's lines has anything. */
  async #closePart(
    index: number,
    lines: readonly { number: number; customId: string; jobs: number; answer: BatchRequest['answer'] }[],
  ): Promise<boolean> {
    const found = await this.#jobs.close(lines);
    for (const [at, jobs] of found.entries()) {
      const line = lines[at];
      if (line === undefined || jobs.length === 0) continue;
      await this.#jobs.cancel(jobs);
      // Where not all its jobs were made, it is no answer, whatever they say.
      const failure = jobs.length < line.jobs ? notAllMade(line.customId) : undefined;
      this.#follow({ ...line, jobs, ...(failure === undefined ? {} : { failure }) });
    }
    const isKnown = (number: number) => partOf(number) === index;
    return found.every((jobs) => jobs.length === 0) && ![...this.#known.lines, ...this.#open.keys()].some(isKnown);
  }

  /**
   * Without the input nobody knows what the lines were: the jobs that they have are cancelled and waited for.
   */
  async #closeUnread(): Promise<void> {
    const lines = Array.from({ length: this.#batch.total }, (_, at) => at + 1).filter(
      (number) => !this.#known.parts.has(partOf(number)) && !this.#known.lines.has(number) && !this.#open.has(number),
    );
    const found = await this.#jobs.close(lines.map((number) => ({ number, jobs: 1 })));
    for (const [at, jobs] of found.entries()) {
      const number = lines[at];
      if (number === undefined || jobs.length === 0) continue;
      await this.#jobs.cancel(jobs);
      this.#follow({ number, customId: '', jobs, failure: notAllMade('') });
    }
  }

  /** Writes every part that is not written, with what is said of lines that were not run. */
  async #writeRest(): Promise<void> {
    let lines: { number: number; customId: string }[] = [];
    const write = async () => {
      const [first] = lines;
      if (first !== undefined && !this.#known.parts.has(partOf(first.number)))
        await this.#writeLines(partOf(first.number), lines);
      lines = [];
    };
    for await (const { number, line } of this.#input()) {
      if (lines[0] !== undefined && partOf(lines[0].number) !== partOf(number)) await write();
      lines.push({ number, customId: line.customId });
    }
    await write();
  }

  /** Writes the parts of what is known alone. */
  async #writeKnown(): Promise<void> {
    const lines = [...this.#known.lines].toSorted((a, b) => a - b).map((number) => ({ number, customId: '' }));
    for (const index of new Set(lines.map(({ number }) => partOf(number))))
      await this.#writeLines(
        index,
        lines.filter(({ number }) => partOf(number) === index),
      );
  }

  async #writeLines(index: number, lines: readonly { number: number; customId: string }[]): Promise<void> {
    const isHeld = await this.#parts.answers.keepPart(this.#held, index, lines, (line) =>
      unrunLine(this.#refOf(line), this.#reason ?? 'cancelled'),
    );
    if (!isHeld) this.leave();
  }

  async #finalize(errors: readonly LineError[]): Promise<void> {
    const { batches, files, answers } = this.#parts;
    const { id } = this.#batch;
    const { parts } = await answers.known(id);
    crashPoint('courier.before-results');
    const results = await storeResults(files, this.#batch, parts);
    crashPoint('courier.after-results');
    const to = this.#reason === undefined ? 'completed' : this.#reason === 'expired' ? 'expired' : 'cancelled';
    const wrong = [...errors, ...results.lost, ...reasonErrors(this.#reason)];
    const fields = {
      ...results.fields,
      total: Math.max(this.#batch.total, this.#total),
      ...(wrong.length === 0 ? {} : { errors: JSON.stringify(wrong) }),
    };
    if (await batches.end(this.#held, to, fields, results.files))
      this.#logger.info({ batch: id, status: to, ...fields }, 'batch over');
  }

  #refOf({ number, customId }: { readonly number: number; readonly customId: string }) {
    return lineRef(this.#batch.id, number, customId);
  }

  /** Resolves at the next change, or after `ms`. Only `run` waits for it. */
  async #change(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (ms !== Infinity) timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}

/** What a line asks for; undefined where it asks for nothing that can be. */
function askedBy({ endpoint }: BatchRecord, { body }: BatchLine): BatchRequest | undefined {
  try {
    return readBatchRequest(endpoint, body);
  } catch {
    return undefined;
  }
}

function asCoded(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  return new CodedError('internal', 'This request failed on our side.', { cause: error });
}

function notAllMade(customId: string): CodedError {
  return new CodedError('job_cancelled', `The batch was stopped while ${customId} was being submitted.`);
}

/** Why a batch was stopped by somebody else than its owner. */
function reasonErrors(reason: StopReason | undefined): LineError[] {
  const message =
    reason === 'disabled'
      ? 'The tenant was disabled.'
      : reason === 'revoked'
        ? 'The API key that began the batch was revoked.'
        : undefined;
  return message === undefined ? [] : [{ code: `batch_${reason ?? ''}`, message, line: null, param: null }];
}
