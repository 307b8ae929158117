import { CodedError } from '../../ground/errors/coded-error.ts';
import type { NumberedLine } from './batch-answers.store.ts';
import type { BatchInput } from './batch-input.ts';
import type { BatchJobs } from './batch-jobs.ts';
import type { BatchLine } from './batch-line.ts';
import { partOf } from './batch-part.ts';
import type { BatchProgress } from './batch-progress.ts';
import { readBatchRequest, type BatchRequest } from './batch-request.ts';
import type { BatchRecord, LineError } from './batch.store.ts';
import type { LineAnswers } from './line-answers.ts';

/** What is stopped. */
interface StoppedParts {
  readonly batch: BatchRecord;
  readonly input: BatchInput;
  readonly jobs: BatchJobs;
  readonly answers: LineAnswers;
  readonly progress: BatchProgress;
}

/** A line that may have jobs. */
interface LineToClose extends NumberedLine {
  readonly jobs: number;
  readonly answer: BatchRequest['answer'];
}

/**
 * The stop of one batch. It looks at the jobs of every line first: those that have ended are answers, the
 * others are cancelled and waited for. What can be repeated is repeated by whoever takes the batch next.
 */
export class BatchStop {
  readonly #parts: StoppedParts;

  constructor(parts: StoppedParts) {
    this.#parts = parts;
  }

  /**
   * Cancels what still runs of every line that has no answer, and sees to it that no courier makes a job
   * later. Returns what is wrong with the input, if it cannot be read.
   */
  async close(): Promise<LineError[]> {
    const { answers, jobs } = this.#parts;
    for (const ids of answers.openJobs) await jobs.cancel(ids);
    await answers.look();
    try {
      await this.#closeLines();
      return [];
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'blob_missing') throw error;
      await this.#closeUnread();
      const message = 'The input file can no longer be read; lines that had no answer are not listed.';
      return [{ code: 'file_unreadable', message, line: null, param: null }];
    }
  }

  /** Writes every part that is not written, with what is said of lines that were not run. */
  async writeRest(): Promise<void> {
    const { answers, input } = this.#parts;
    let lines: NumberedLine[] = [];
    const write = async () => {
      const [first] = lines;
      if (first !== undefined && !answers.known.parts.has(partOf(first.number)))
        await answers.writePart(partOf(first.number), lines);
      lines = [];
    };
    for await (const { number, line } of input.lines()) {
      if (lines[0] !== undefined && partOf(lines[0].number) !== partOf(number)) await write();
      lines.push({ number, customId: line.customId });
    }
    await write();
  }

  /** Writes the parts of what is known alone. */
  async writeKnown(): Promise<void> {
    const { answers } = this.#parts;
    const lines = [...answers.known.lines].toSorted((a, b) => a - b).map((number) => ({ number, customId: '' }));
    for (const index of new Set(lines.map(({ number }) => partOf(number))))
      await answers.writePart(
        index,
        lines.filter(({ number }) => partOf(number) === index),
      );
  }

  /**
   * Finds the jobs of the lines that have no answer, part by part. Lines are submitted in their order: beyond
   * a whole part that has nothing, there is nothing.
   */
  async #closeLines(): Promise<void> {
    const { answers, batch, input, progress } = this.#parts;
    let part: LineToClose[] = [];
    let index = 0;
    let isEmpty = false;
    for await (const { number, line } of input.lines()) {
      if (partOf(number) !== index) {
        isEmpty = await this.#closePart(index, part);
        part = [];
        index = partOf(number);
      }
      if (isEmpty || progress.isLeft) return;
      const asked = answers.has(number) ? undefined : askedBy(batch, line);
      if (asked !== undefined)
        part.push({ number, customId: line.customId, jobs: asked.jobs.length, answer: asked.answer });
    }
    await this.#closePart(index, part);
  }

  /** Returns whether none of the part's lines has anything. */
  async #closePart(index: number, lines: readonly LineToClose[]): Promise<boolean> {
    const { answers, jobs } = this.#parts;
    const found = await jobs.close(lines);
    for (const [at, ids] of found.entries()) {
      const line = lines[at];
      if (line === undefined || ids.length === 0) continue;
      await jobs.cancel(ids);
      // Where not all its jobs were made, it is no answer, whatever they say.
      const failure = ids.length < line.jobs ? notAllMade(line.customId) : undefined;
      answers.follow({ ...line, jobs: ids, ...(failure === undefined ? {} : { failure }) });
    }
    return found.every((ids) => ids.length === 0) && !answers.hasAnyOf(index);
  }

  /**
   * Without the input nobody knows what the lines were: the jobs that they have are cancelled and waited for.
   */
  async #closeUnread(): Promise<void> {
    const { answers, batch, jobs } = this.#parts;
    const lines = Array.from({ length: batch.total }, (_, at) => at + 1).filter((number) => !answers.has(number));
    const found = await jobs.close(lines.map((number) => ({ number, jobs: 1 })));
    for (const [at, ids] of found.entries()) {
      const number = lines[at];
      if (number === undefined || ids.length === 0) continue;
      await jobs.cancel(ids);
      answers.follow({ number, customId: '', jobs: ids, failure: notAllMade('') });
    }
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

function notAllMade(customId: string): CodedError {
  return new CodedError('job_cancelled', `The batch was stopped while ${customId} was being submitted.`);
}
