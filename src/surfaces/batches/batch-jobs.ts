import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Clock } from '../../ground/clock/clock.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { parseRetryAfter } from '../../proof/contract/retry-after.ts';
import { isPassing } from '../admission/passing-refusal.ts';
import type { Submitter } from '../admission/pending-job.ts';
import type { Done, ReadDone } from '../openai/answers.ts';
import type { Completions } from '../openai/completions.ts';
import type { ApiKeys } from '../tenants/api-key.store.ts';
import { partOf } from './batch-part.ts';
import type { BatchRequest } from './batch-request.ts';
import { COURIER_AWAY_MS, type BatchRecord } from './batch.store.ts';

/** The shortest deadline of a job: the batch stops whatever is left of it. */
const MIN_DEADLINE_MS = 1_000;
const LIMITS_CACHE_MS = 1_000;
/** Keys asked for in one go. */
const CANCELS_AT_ONCE = 64;

/** What submitting lines needs. */
export interface LineParts {
  readonly completions: Pick<Completions, 'submit' | 'close' | 'cancel' | 'done'>;
  readonly apiKeys: Pick<ApiKeys, 'limitsOf'>;
  readonly clock: Clock;
}

/** Answers of jobs that are read at once. */
export const READ_AT_ONCE = 8;
/** What one line can answer: eight of the longest outputs that there are. */
const MAX_ANSWER_BYTES = READ_AT_ONCE * MAX_OUTPUT_BYTES;

/** How the jobs of a line ended: those that are done, and why the line has no answer, if it has none. */
interface Outcomes {
  readonly done: readonly Done[];
  readonly error: CodedError | undefined;
}

type Outcome = { readonly done: ReadDone } | { readonly error: CodedError };

/**
 * The jobs of the lines of one batch. A line is submitted under an idempotency key made of its place, so that
 * a line that is submitted again finds the jobs that it has. Any number of calls may run at once.
 */
export class BatchJobs {
  readonly #parts: LineParts;
  readonly #batch: BatchRecord;
  #limits: { readonly atMs: number; readonly limits: Promise<Submitter['limits']> } = {
    atMs: -Infinity,
    limits: Promise.resolve({ tenant: {}, key: {} }),
  };

  constructor(parts: LineParts, batch: BatchRecord) {
    this.#parts = parts;
    this.#batch = batch;
  }

  /** The ids of the line's jobs once they are accepted. Throws what admission throws; see `refusalOf`. */
  async submit(number: number, asked: BatchRequest): Promise<string[]> {
    const { completions } = this.#parts;
    const leftMs = Math.max(MIN_DEADLINE_MS, this.#batch.expiresMs - this.#parts.clock.nowMs());
    const jobs = asked.jobs.map((job) => ({ ...job, deadline_ms: Math.min(job.deadline_ms ?? leftMs, leftMs) }));
    const admitted = await completions.submit(
      await this.#submitter(),
      { jobs },
      {
        idempotencyKey: this.#keyOf(number),
        idempotencyMs: this.#knownMs(),
        // What the line says, and not when it is submitted.
        request: JSON.stringify(asked.jobs),
        isBackground: true,
        batchLine: `${this.#batch.id} ${number} ${partOf(number)}`,
        ...(asked.surface === undefined ? {} : { surface: asked.surface }),
      },
    );
    return admitted.map(({ id }) => id);
  }

  /**
   * The jobs that these lines have; from now on they get no others, whichever courier still works on them.
   */
  async close(lines: readonly { readonly number: number; readonly jobs: number }[]): Promise<string[][]> {
    const found = await this.#parts.completions.close(
      this.#batch.tenant,
      lines.map(({ number, jobs }) => ({ idempotencyKey: this.#keyOf(number), jobs })),
      this.#knownMs(),
    );
    return found.map((ids) => ids.filter((id) => id !== undefined));
  }

  /** Asks for jobs to be cancelled, whatever has become of them. */
  async cancel(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += CANCELS_AT_ONCE)
      await this.#parts.completions.cancel(this.#batch.tenant, ids.slice(at, at + CANCELS_AT_ONCE));
  }

  /**
   * How these jobs, which are of one line, ended. Where their outputs together are too long for a line, they
   * are left out. Throws what is about this moment and not about the jobs.
   */
  async outcomes(ids: readonly string[], signal: AbortSignal): Promise<Outcomes> {
    let done: Done[] = [];
    let error: CodedError | undefined;
    let bytes = 0;
    for (let at = 0; at < ids.length; at += READ_AT_ONCE) {
      const some = await Promise.all(ids.slice(at, at + READ_AT_ONCE).map((id) => this.#outcome(id, signal)));
      for (const one of some) {
        if ('error' in one) error ??= one.error;
        else {
          done.push(one.done);
          bytes += one.done.bytes;
        }
      }
      if (bytes > MAX_ANSWER_BYTES) done = done.map((one) => ({ ...one, output: null }));
    }
    return { done, error: bytes > MAX_ANSWER_BYTES ? tooLong() : error };
  }

  async #outcome(id: string, signal: AbortSignal): Promise<Outcome> {
    try {
      const [done] = await this.#parts.completions.done(this.#batch.tenant, [id], signal);
      if (done === undefined) throw new Error(`There is no answer of job ${id}.`);
      return { done };
    } catch (error) {
      if (error instanceof CodedError && isOfJob(error)) return { error };
      throw error;
    }
  }

  /** Whoever takes the batch next finds the jobs of its lines, also after its window and an outage. */
  #knownMs(): number {
    return Math.max(0, this.#batch.expiresMs - this.#parts.clock.nowMs()) + COURIER_AWAY_MS;
  }

  #keyOf(number: number): string {
    // No client can send a key that begins with this character.
    return `\0batch ${this.#batch.id} ${number}`;
  }

  /** Accepted work goes on when its API key ends; the limits are those of now. */
  async #submitter(): Promise<Submitter> {
    const { tenant, keyId } = this.#batch;
    const nowMs = this.#parts.clock.steadyMs();
    if (nowMs - this.#limits.atMs > LIMITS_CACHE_MS) {
      this.#limits = { atMs: nowMs, limits: this.#parts.apiKeys.limitsOf(tenant, keyId) };
    }
    return { tenant, keyId, limits: await this.#limits.limits };
  }
}

function tooLong(): CodedError {
  return new CodedError(
    'answer_too_large',
    `The answers to this line come to more than ${MAX_ANSWER_BYTES / 1_048_576} MiB; each is at /v1/jobs/{job_id}/output.`,
  );
}

/** What is over, whatever the time: the job ended so, or what it was is gone. */
const OF_JOB: ReadonlySet<string> = new Set(['job_not_found', 'job_forgotten', 'erased', 'blob_missing']);

function isOfJob({ code, headers }: CodedError): boolean {
  return OF_JOB.has(code) || 'countersign-state' in headers;
}

/**
 * What a refusal of a line means: it `passes`, and the line is submitted again after `afterMs`, if the
 * refusal says so; or it does not, and no other try could change it.
 */
export function refusalOf(error: unknown, nowMs: number): { readonly passes: boolean; readonly afterMs?: number } {
  if (!(error instanceof CodedError)) return { passes: true };
  const { headers } = error;
  const passes = isPassing(error);
  if (!passes) return { passes };
  const asked = Number(headers['retry-after-ms'] ?? NaN);
  const seconds = parseRetryAfter(headers['retry-after'], nowMs);
  if (!Number.isNaN(asked)) return { passes, afterMs: asked };
  return { passes, ...(seconds === undefined ? {} : { afterMs: seconds * 1_000 }) };
}
