import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { pause, type Clock } from '../../ground/clock/clock.ts';
import { growingPause } from '../../ground/process/growing-pause.ts';
import type { BatchAnswers, HeldBatch, KnownAnswers, NumberedLine } from './batch-answers.store.ts';
import type { BatchJobs } from './batch-jobs.ts';
import { partOf } from './batch-part.ts';
import type { BatchProgress } from './batch-progress.ts';
import type { BatchRequest } from './batch-request.ts';
import type { BatchRecord } from './batch.store.ts';
import type { EndWatch } from './end-watch.ts';
import type { FairTurns } from './fair-turns.ts';
import { answeredLine, failedLine, lineRef, unrunLine, type LineResult } from './line-result.ts';
import { OpenParts } from './open-parts.ts';
import type { SubmissionPace } from './submission-pace.ts';

/** What keeping answers needs. */
export interface AnswerParts {
  readonly answers: BatchAnswers;
  readonly watch: EndWatch;
  /** Turns to read what jobs answered. */
  readonly readings: FairTurns;
  readonly clock: Clock;
}

/** A line whose jobs are accepted. */
interface OpenLine extends NumberedLine {
  readonly jobs: readonly string[];
  /** Makes the line's result of its answers; throws CodedErrors. Absent where nobody knows what was asked. */
  readonly answer?: BatchRequest['answer'];
  /** Why the line fails whatever its jobs answer. */
  readonly failure?: CodedError;
  readonly watching: Disposable[];
}

/** Whose answers they are. */
interface AnswersOf {
  readonly batch: BatchRecord;
  readonly held: HeldBatch;
  readonly jobs: BatchJobs;
  readonly pace: SubmissionPace;
  readonly progress: BatchProgress;
}

/**
 * The answers of the lines of one batch: waits for the jobs of a line, and keeps what they answered, once and
 * under the lease of the batch. What fails for a reason that passes is tried again for as long as the batch
 * is held: the disk is full, Redis is away.
 */
export class LineAnswers {
  readonly #parts: AnswerParts;
  readonly #of: AnswersOf;
  readonly #logger: Logger;
  readonly #open = new Map<number, OpenLine>();
  readonly #openParts = new OpenParts();
  #known: KnownAnswers = { parts: new Map(), lines: new Set() };
  /** Writings under way. */
  #writing = 0;

  constructor(parts: AnswerParts, of: AnswersOf, logger: Logger) {
    this.#parts = parts;
    this.#of = of;
    this.#logger = logger;
  }

  /** The lines whose jobs run or wait. */
  get open(): number {
    return this.#open.size;
  }

  /** Whether something is waited for or being written. */
  get isBusy(): boolean {
    return this.#open.size + this.#writing > 0;
  }

  /** Whether the next line may begin another part. */
  get hasRoom(): boolean {
    return this.#openParts.hasRoom;
  }

  /** The ids of the jobs of every line that is open. */
  get openJobs(): readonly (readonly string[])[] {
    return [...this.#open.values()].map(({ jobs }) => jobs);
  }

  /** When it was last looked: the parts that were written, and the lines beside them that had an answer. */
  get known(): KnownAnswers {
    return this.#known;
  }

  /** Looks which lines have an answer. */
  async look(): Promise<void> {
    this.#known = await this.#parts.answers.known(this.#of.batch.id);
  }

  /** Whether a line had an answer when it was last looked, or its jobs are waited for. */
  has(number: number): boolean {
    return this.#known.parts.has(partOf(number)) || this.#known.lines.has(number) || this.#open.has(number);
  }

  /** Whether any line of a part has an answer or waits for one. */
  hasAnyOf(part: number): boolean {
    const isOfPart = (number: number) => partOf(number) === part;
    return this.#known.parts.has(part) || [...this.#known.lines, ...this.#open.keys()].some(isOfPart);
  }

  /** Takes a line of the input in, in its order. Returns whether it has no answer. */
  read(line: NumberedLine): boolean {
    if (this.#known.parts.has(partOf(line.number))) return false;
    const isAnswered = this.#known.lines.has(line.number);
    const complete = this.#openParts.read(line, isAnswered);
    if (complete !== undefined) this.#writePart(complete);
    return !isAnswered;
  }

  /** The input has no more lines. */
  endOfInput(): void {
    for (const index of this.#openParts.end()) this.#writePart(index);
  }

  /** Waits for the ends of a line's jobs, which takes no place and no turn, and keeps what they answered. */
  follow(line: Omit<OpenLine, 'watching'>): void {
    let left = line.jobs.length;
    const watching = line.jobs.map((job) =>
      this.#parts.watch.watch(job, (fate) => {
        if (fate === 'gone' && this.#of.progress.reason === undefined) {
          this.#beginAgain(`job ${job} of line ${line.number} is not there`);
          return;
        }
        left -= 1;
        if (left === 0) void this.persist(() => this.#keepAnswer(open));
      }),
    );
    const open: OpenLine = { ...line, watching };
    this.#open.set(line.number, open);
    this.#of.progress.wake();
  }

  /** Keeps that a line failed before it had a job. */
  async fail(line: NumberedLine, error: CodedError): Promise<void> {
    await this.#keep(line, failedLine(this.#refOf(line), error), []);
  }

  /**
   * Writes a part in place of its lines. At a stop those without an answer are said not to have been run.
   */
  async writePart(index: number, lines: readonly NumberedLine[]): Promise<void> {
    const { held, progress } = this.#of;
    const { reason } = progress;
    const unrun = reason === undefined ? undefined : (line: NumberedLine) => unrunLine(this.#refOf(line), reason);
    const written = await this.#parts.answers.keepPart(held, index, lines, unrun);
    if (written === 'lost') progress.leave();
    if (written === 'incomplete') this.#beginAgain(`answers of part ${index} are not there`);
  }

  /** Tries a step until it succeeds or the batch is left. */
  async persist(step: () => Promise<void>): Promise<void> {
    const { batch, progress } = this.#of;
    this.#writing += 1;
    for (let failures = 1; !progress.isLeft; failures += 1) {
      try {
        await step();
        break;
      } catch (error) {
        this.#logger.warn({ batch: batch.id }, `a batch waits: ${messageOf(error).slice(0, 300)}`);
        await pause(this.#parts.clock, growingPause(failures), progress.left);
      }
    }
    this.#writing -= 1;
    progress.wake();
  }

  /** Waits for nothing any more. */
  close(): void {
    for (const { watching } of this.#open.values()) for (const one of watching) one[Symbol.dispose]();
  }

  async #keepAnswer(line: OpenLine): Promise<void> {
    const { batch, jobs, pace, progress } = this.#of;
    const read = async () => {
      if (progress.isLeft) return;
      const { done, error } = await jobs.outcomes(line.jobs, progress.left);
      await this.#keep(line, this.#resultOf(line, done, line.failure ?? error), line.jobs);
      this.#open.delete(line.number);
      pace.freed(this.#parts.clock.steadyMs());
      progress.wake();
    };
    await this.#parts.readings.take(batch.tenant, batch.id, read, line.jobs.length);
  }

  /**
   * Gives the batch up, to go on from what Redis has: it has lost its last moments, and what is known here is
   * not true any more.
   */
  #beginAgain(why: string): void {
    const { batch, progress } = this.#of;
    if (progress.isLeft) return;
    this.#logger.warn({ batch: batch.id }, `a batch goes on from what Redis has: ${why}`);
    progress.leave();
  }

  #resultOf(line: OpenLine, done: Parameters<typeof answeredLine>[1], error: CodedError | undefined): LineResult {
    const { reason } = this.#of.progress;
    const ref = this.#refOf(line);
    if (error !== undefined || line.answer === undefined) {
      const isByStop = error === undefined || ['job_cancelled', 'job_expired'].includes(error.code);
      if (error === undefined || (isByStop && reason !== undefined)) return unrunLine(ref, reason ?? 'cancelled', done);
      return failedLine(ref, error, done);
    }
    try {
      return answeredLine(ref, done, line.answer(done));
    } catch (unfit) {
      return failedLine(ref, asCoded(unfit), done);
    }
  }

  async #keep(line: NumberedLine, result: LineResult, jobs: readonly string[]): Promise<void> {
    const { held, progress } = this.#of;
    await this.persist(async () => {
      crashPoint('courier.before-line');
      const isHeld = await this.#parts.answers.keep(held, line, result, jobs);
      crashPoint('courier.after-line');
      if (!isHeld) {
        progress.leave();
        return;
      }
      const complete = this.#openParts.answered(line.number);
      if (complete !== undefined) this.#writePart(complete);
    });
  }

  /** Writes a part whose lines all have their answers. */
  #writePart(index: number): void {
    const lines = this.#openParts.linesOf(index);
    void this.persist(async () => {
      crashPoint('courier.before-part');
      await this.writePart(index, lines);
      crashPoint('courier.after-part');
      this.#openParts.close(index);
    });
  }

  #refOf({ number, customId }: NumberedLine) {
    return lineRef(this.#of.batch.id, number, customId);
  }
}

/** The error itself, or one that says no more than that it is ours. */
export function asCoded(error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  return new CodedError('internal', 'This request failed on our side.', { cause: error });
}
