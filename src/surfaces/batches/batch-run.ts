import { CodedError } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { BatchAnswers, HeldBatch } from './batch-answers.store.ts';
import type { BatchFiles } from './batch-files.store.ts';
import { BatchInput } from './batch-input.ts';
import { BatchJobs, refusalOf, type LineParts } from './batch-jobs.ts';
import { MAX_LINE_BYTES, type BatchLine } from './batch-line.ts';
import { BatchProgress } from './batch-progress.ts';
import { readBatchRequest, type BatchRequest } from './batch-request.ts';
import { storeResults } from './batch-results.ts';
import { BatchStop } from './batch-stop.ts';
import { validateInput } from './batch-validation.ts';
import type { BatchRecord, Batches, LineError } from './batch.store.ts';
import type { FairTurns } from './fair-turns.ts';
import { LineAnswers, asCoded, type AnswerParts } from './line-answers.ts';
import type { StopReason } from './line-result.ts';
import { SubmissionPace } from './submission-pace.ts';

/** Lines of a batch whose jobs run or wait at once. They wait in the backlog, and take no place here. */
const MAX_OPEN_LINES = 128;
/** A line that fails by no fault that has a name is tried so often. */
const MAX_FAULTS = 5;

/** What running batches needs. */
export interface BatchParts extends LineParts, AnswerParts {
  readonly batches: Batches;
  readonly files: BatchFiles;
  readonly answers: BatchAnswers;
  /** Turns to submit lines. */
  readonly submissions: FairTurns;
}

/** A line that is to be submitted. */
interface NewLine extends BatchLine {
  readonly number: number;
  readonly bytes: number;
  faults: number;
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
  readonly #input: BatchInput;
  readonly #jobs: BatchJobs;
  readonly #answers: LineAnswers;
  readonly #again: NewLine[] = [];
  readonly #pace = new SubmissionPace();
  readonly #progress: BatchProgress;
  /** Lines that are being submitted, and their bytes. */
  #submitting = 0;
  #heldBytes = 0;

  constructor(parts: BatchParts, logger: Logger, batch: BatchRecord, held: HeldBatch) {
    this.#parts = parts;
    this.#logger = logger;
    this.#batch = batch;
    this.#held = held;
    this.#input = new BatchInput(parts.files.blobs, batch);
    this.#jobs = new BatchJobs(parts, batch);
    const [pace, progress] = [this.#pace, new BatchProgress(parts.clock)];
    this.#progress = progress;
    this.#answers = new LineAnswers(parts, { batch, held, jobs: this.#jobs, pace, progress }, logger);
    if (batch.status === 'finalizing' && batch.stop === undefined) progress.answered();
    if (batch.stop !== undefined || batch.status === 'cancelling') this.stop(batch.stop ?? 'cancelled');
  }

  /** Gives the batch up: the lease is lost, or the process stops. Nothing is written from then on. */
  leave(): void {
    this.#progress.leave();
  }

  /** No line is submitted from now on; the first reason stays. */
  stop(reason: StopReason): void {
    this.#progress.stop(reason);
  }

  /** Resolves when the batch is over or was left. Call it once. Throws what keeps it from going on now. */
  async run(): Promise<void> {
    const progress = this.#progress;
    try {
      const { status } = this.#batch;
      if (status === 'validating' && progress.reason === undefined && !(await this.#validate())) return;
      const errors = progress.isAnswered ? [] : await this.#runLines();
      if (!progress.isLeft) await this.#finalize(errors);
    } finally {
      this.leave();
      this.#answers.close();
    }
  }

  /** Gets every line its answer, or runs the stop. Returns what was wrong with the input. */
  async #runLines(): Promise<LineError[]> {
    const progress = this.#progress;
    await this.#submitLines();
    await this.#settle(() => progress.reason !== undefined);
    if (progress.reason === undefined && !progress.isLeft) {
      if (await this.#parts.batches.move(this.#batch.id, 'finalizing', {}, this.#held.holder)) progress.answered();
      else await this.#heedStatus();
    }
    return progress.reason === undefined || progress.isLeft ? [] : this.#runStop(progress.reason);
  }

  /** Errors in the form of the input fail the batch before anything runs. Returns whether it goes on. */
  async #validate(): Promise<boolean> {
    const progress = this.#progress;
    const { batches } = this.#parts;
    const { id, endpoint } = this.#batch;
    const { errors, total, model } = await validateInput(this.#input.raw(), endpoint, progress.halted);
    if (progress.isLeft) return false;
    if (progress.reason !== undefined) return true;
    if (errors.length > 0) {
      await batches.end(this.#held, 'failed', { errors: JSON.stringify(errors), total }, []);
      return false;
    }
    const fields = { total, ...(model === undefined ? {} : { model }) };
    if (!(await batches.move(id, 'in_progress', fields, this.#held.holder))) await this.#heedStatus();
    return !progress.isLeft;
  }

  /** A move was refused: by a cancellation that came before it, or because the lease is lost. */
  async #heedStatus(): Promise<void> {
    const record = await this.#parts.batches.read(this.#batch.id);
    if (record?.status === 'cancelling') this.#progress.heed(record.stop ?? 'cancelled');
    else this.leave();
  }

  /** Submits every line that has no answer; ends with the input, at a stop, or when the batch is left. */
  async #submitLines(): Promise<void> {
    const progress = this.#progress;
    await this.#answers.look();
    const input = this.#unanswered();
    let isAtEnd = false;
    while (!progress.isHalted) {
      const waitMs = this.#waitMs(isAtEnd);
      if (waitMs === undefined) break;
      if (waitMs > 0) {
        await progress.change(waitMs);
        continue;
      }
      const line = this.#again.shift() ?? (await input.next()).value;
      if (line === undefined) {
        isAtEnd = true;
        this.#answers.endOfInput();
      } else this.#begin(line);
    }
    await input.return(undefined);
  }

  /** How long to wait (ms) before the next line; undefined when there is none and none comes back. */
  #waitMs(isAtEnd: boolean): number | undefined {
    const isMore = this.#again.length > 0 || !isAtEnd;
    if (!isMore) return this.#submitting > 0 ? Infinity : undefined;
    const isFull =
      this.#answers.open + this.#submitting >= MAX_OPEN_LINES ||
      this.#heldBytes >= MAX_LINE_BYTES ||
      (this.#again.length === 0 && !this.#answers.hasRoom);
    return isFull ? Infinity : this.#pace.waitMs(this.#submitting, this.#parts.clock.steadyMs());
  }

  /** The lines without an answer, in their order, read from the disk as they are asked for. */
  async *#unanswered(): AsyncGenerator<NewLine, undefined> {
    for await (const { number, line, bytes } of this.#input.lines())
      if (this.#answers.read({ number, customId: line.customId })) yield { ...line, number, bytes, faults: 0 };
    return undefined;
  }

  #begin(line: NewLine): void {
    this.#submitting += 1;
    this.#heldBytes += line.bytes;
    void this.#submit(line).finally(() => {
      this.#submitting -= 1;
      this.#heldBytes -= line.bytes;
      this.#progress.wake();
    });
  }

  async #submit(line: NewLine): Promise<void> {
    let asked: BatchRequest;
    try {
      asked = readBatchRequest(this.#batch.endpoint, line.body);
    } catch (error) {
      return this.#answers.fail(line, asCoded(error));
    }
    const { number, customId } = line;
    const { tenant, id } = this.#batch;
    try {
      const jobs = await this.#parts.submissions.take(tenant, id, async () =>
        this.#progress.isHalted ? undefined : this.#jobs.submit(number, asked),
      );
      // A stop finds the jobs of this line, if it has any.
      if (jobs === undefined) return;
      this.#pace.accepted();
      crashPoint('courier.after-submit');
      this.#answers.follow({ number, customId, jobs, answer: asked.answer });
    } catch (error) {
      await this.#refused(line, asked, error);
    }
  }

  /** A line that was refused for now is submitted again; for good, it fails with the jobs that it has. */
  async #refused(line: NewLine, asked: BatchRequest, error: unknown): Promise<void> {
    const { passes, afterMs } = refusalOf(error, this.#parts.clock.nowMs());
    if (!(error instanceof CodedError)) line.faults += 1;
    if (passes && line.faults < MAX_FAULTS) {
      this.#pace.refused(this.#parts.clock.steadyMs(), afterMs);
      this.#again.push(line);
      return;
    }
    // What is refused now may have been accepted before, all of it: by another courier, by another catalog.
    const { number, customId } = line;
    await this.#answers.persist(async () => {
      const [jobs = []] = await this.#jobs.close([{ number, jobs: asked.jobs.length }]);
      if (jobs.length === 0) await this.#answers.fail(line, asCoded(error));
      else this.#answers.follow({ number, customId, jobs, answer: asked.answer });
    });
  }

  /** Resolves when nothing is under way any more; or when the batch is left, or `isEnough`. */
  async #settle(isEnough: () => boolean): Promise<void> {
    while (!this.#progress.isLeft && !isEnough() && (this.#submitting > 0 || this.#answers.isBusy))
      await this.#progress.change();
  }

  /**
   * Says that the batch is stopped, and stops it. Returns what was wrong with the input, if it cannot be
   * read.
   */
  async #runStop(reason: StopReason): Promise<LineError[]> {
    const progress = this.#progress;
    while (this.#submitting > 0 && !progress.isLeft) await progress.change();
    await this.#sayStopped(reason);
    const [input, jobs, answers] = [this.#input, this.#jobs, this.#answers];
    const stop = new BatchStop({ batch: this.#batch, input, jobs, answers, progress });
    const lost = await stop.close();
    crashPoint('courier.after-stop');
    await this.#settle(() => false);
    await answers.look();
    if (progress.isLeft) return lost;
    await (lost.length === 0 ? stop.writeRest() : stop.writeKnown());
    return lost;
  }

  async #sayStopped(reason: StopReason): Promise<void> {
    const { batches } = this.#parts;
    const { id } = this.#batch;
    const record = await batches.read(id);
    if (record === undefined) throw new Error('The batch is gone.');
    if (record.stop !== undefined || record.status === 'finalizing' || record.status === 'cancelling') return;
    const to = reason === 'expired' ? 'finalizing' : 'cancelling';
    if (!(await batches.move(id, to, { stop: reason }, this.#held.holder))) await this.#heedStatus();
  }

  async #finalize(errors: readonly LineError[]): Promise<void> {
    const { batches, files } = this.#parts;
    const { reason } = this.#progress;
    const { id } = this.#batch;
    await this.#answers.look();
    crashPoint('courier.before-results');
    const results = await storeResults(files, this.#batch, this.#answers.known.parts);
    crashPoint('courier.after-results');
    const to = reason === undefined ? 'completed' : reason === 'expired' ? 'expired' : 'cancelled';
    const wrong = [...errors, ...results.lost, ...reasonErrors(reason)];
    const fields = {
      ...results.fields,
      total: Math.max(this.#batch.total, this.#input.total),
      ...(wrong.length === 0 ? {} : { errors: JSON.stringify(wrong) }),
    };
    if (await batches.end(this.#held, to, fields, results.files))
      this.#logger.info({ batch: id, status: to, ...fields }, 'batch over');
  }
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
