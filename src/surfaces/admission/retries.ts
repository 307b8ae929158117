import { CodedError } from '../../ground/errors/coded-error.ts';
import type { JobInputs } from '../../core/jobs/job-inputs.ts';
import type { JobView } from '../../core/jobs/job.reader.ts';
import type { Jobs } from '../../core/jobs/jobs.ts';
import type { Whose } from '../../core/jobs/whose.ts';
import { isFinal } from '../../proof/contract/job-states.ts';
import { LONGEST_DEADLINE_MS, SHORTEST_DEADLINE_MS, SubmitJob } from '../../proof/contract/submit-job.ts';
import { PROMISES } from '../../proof/receipts/promises/promises.ts';
import { readTicket } from '../../proof/receipts/statements.ts';
import type { Admission, Admitted } from './admission.ts';
import type { Submitter } from './pending-job.ts';
import { retryMark } from './retry-mark.ts';

interface RetryParts {
  readonly jobs: Jobs;
  readonly inputs: Pick<JobInputs, 'of'>;
  readonly admission: Admission;
  /**
   * What becomes of the answer, by what the surface keeps with the job: the same of the new one's. Of the two
   * at most one is done.
   */
  readonly carried: (surface: string | undefined) => object;
}

/** Asks the questions of jobs again that did not get an answer. Any number of calls at once. */
export class Retries {
  readonly #parts: RetryParts;

  constructor(parts: RetryParts) {
    this.#parts = parts;
  }

  /**
   * The new job that asks what this one asked, with the same parameters and as much time. Within a day it
   * is the same one again, whoever asks. Throws CodedErrors `job_not_found`, `job_not_ended`,
   * `job_not_retryable` where it is done or what it asked is not kept, and those of `Admission.submitAll`.
   */
  async retry(whose: Whose, submitter: Submitter, id: string): Promise<Admitted> {
    const { jobs, admission, carried } = this.#parts;
    const view = await jobs.get(whose, id);
    if (!isFinal(view.state)) throw new CodedError('job_not_ended', 'The job has not ended.');
    if (view.state === 'done')
      throw notRetryable('The job is done. What it asked is not kept; to compare, use `countersign jobs replay`.');
    const body = await this.#question(view);
    const surface = retryMark(id, carried(view.surface));
    // No caller can send this key: it has a line feed.
    return admission.submit(submitter, body, { idempotencyKey: `retry\n${id}`, surface });
  }

  async #question(view: JobView): Promise<SubmitJob> {
    const { id, ticket: stored, erased, createdMs, deadlineMs, maxAttempts } = view;
    if (erased !== undefined || stored === undefined) throw notRetryable('What the job asked was erased.');
    const { task, params, policy } = readTicket(id, stored).ticket.predicate;
    const input: unknown = JSON.parse((await this.#input(id)).toString('utf8'));
    const asked = SubmitJob.safeParse({
      model: view.model,
      task,
      input,
      params,
      attestation: policy,
      attempts: Math.min(10, Math.max(1, maxAttempts + 1 - PROMISES.runs({ ...policy }))),
      deadline_ms: Math.min(LONGEST_DEADLINE_MS, Math.max(SHORTEST_DEADLINE_MS, deadlineMs - createdMs)),
    });
    if (!asked.success) throw new Error(`What ${id} asked cannot be asked.`, { cause: asked.error });
    return asked.data;
  }

  async #input(id: string): Promise<Buffer> {
    try {
      const input = await this.#parts.inputs.of(id);
      if (input !== undefined) return input;
    } catch (cause) {
      if (!(cause instanceof CodedError) || cause.code !== 'blob_missing') throw cause;
    }
    throw notRetryable('What the job asked is no longer kept: send it as a new job.');
  }
}

const notRetryable = (message: string) => new CodedError('job_not_retryable', message);
