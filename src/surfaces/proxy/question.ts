import type { CodedError } from '../../ground/errors/coded-error.ts';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import type { Done } from '../openai/answers.ts';

/** A provisional stream of the service, and how a job of it becomes a confirmed one. */
export interface ProvisionalStream {
  /** The data of its events, parsed from JSON, or the text `[DONE]`. */
  readonly events: AsyncIterable<unknown>;
  readonly ids: readonly string[];
  /** The job at this place, confirmed. Throws Unverified. */
  readonly confirm: (index: number) => Promise<Done>;
}

/**
 * One request in OpenAI's shape: the jobs that it asks for, and what is answered once they are confirmed.
 * What a caller is given is written here, from confirmed documents alone; the service's own answer is only
 * compared with it.
 */
export interface Question {
  readonly path: string;
  /** To be sent to the service. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly jobs: readonly SubmitJob[];
  readonly isStreamed: boolean;
  /** The answer, whole. */
  answer(done: readonly Done[]): object;
  /** The same as frames of an event stream. */
  held(done: readonly Done[]): Iterable<string>;
  /**
   * Frames as the service sends them, each marked as provisional, and the last ones once they are confirmed.
   * Throws Unverified where the service says something else than the receipts.
   */
  provisional(stream: ProvisionalStream): AsyncGenerator<string>;
  /** The last frame of a stream that failed. */
  failed(error: CodedError, ids: readonly string[]): string;
}
