import { setTimeout as sleep } from 'node:timers/promises';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Submitter } from '../admission/admission.ts';
import type { Done } from '../openai/answers.ts';
import type { Completions } from '../openai/completions.ts';
import type { ApiKeys } from '../tenants/api-key.store.ts';
import type { BatchLine } from './batch-line.ts';
import { readBatchRequest, type BatchRequest } from './batch-request.ts';
import type { BatchStop } from './batch-stop.ts';
import type { BatchRecord } from './batch.store.ts';
import { answeredLine, failedLine, lineRef, unrunLine, type LineResult } from './line-result.ts';

/** A job of a batch may wait as long as the batch; the batch itself ends it earlier. */
const JOB_DEADLINE_MS = 86_400_000;
const RETRY_MS = 500;
const STOP_GRACE_MS = 5_000;
const LIMITS_CACHE_MS = 1_000;

/** What running lines needs. */
export interface LineParts {
  readonly completions: Completions;
  readonly apiKeys: ApiKeys;
}

/**
 * Runs lines of one batch. A line is submitted under an idempotency key made of its place, so a line that is
 * run again finds the jobs it already has. Any number of lines may run at once.
 */
export class LineRunner {
  readonly #parts: LineParts;
  readonly #batch: BatchRecord;
  readonly #gone: AbortSignal;
  readonly #stop: BatchStop;
  #limits: { readonly atMs: number; readonly limits: Promise<Submitter['limits']> } = {
    atMs: -Infinity,
    limits: Promise.resolve({ tenant: {}, key: {} }),
  };

  /**
   * `gone` is aborted when this process must not go on with the batch; `stop` when the batch itself is
   * stopped.
   */
  constructor(parts: LineParts, batch: BatchRecord, gone: AbortSignal, stop: BatchStop) {
    this.#parts = parts;
    this.#batch = batch;
    this.#gone = gone;
    this.#stop = stop;
  }

  /** The result of a line; of no use once `gone` is aborted. `number` counts from 1. */
  async run(number: number, { customId, body }: BatchLine): Promise<LineResult> {
    const ref = lineRef(this.#batch.id, number, customId);
    try {
      const asked = readBatchRequest(this.#batch.endpoint, body);
      const done = await this.#answer(number, asked);
      if (done === undefined) return unrunLine(ref, this.#stop.reason ?? 'cancelled');
      return answeredLine(ref, done, asked.answer(done));
    } catch (error) {
      if (error instanceof CodedError && !isTransient(error)) return failedLine(ref, error);
      throw error;
    }
  }

  /**
   * The line's jobs once they are done; undefined if they were stopped before. Waits out what passes by
   * itself (an outage of the storage, limits of the tenant): the batch has a day.
   */
  async #answer(number: number, asked: BatchRequest): Promise<Done[] | undefined> {
    for (let round = 0; ;) {
      if (this.#gone.aborted || this.#stop.signal.aborted) return undefined;
      try {
        return await this.#submitAndWait(number, round, asked);
      } catch (error) {
        // A job may be done and forgotten before its result was recorded: it is run again.
        if (error instanceof CodedError && ['job_not_found', 'job_forgotten'].includes(error.code)) round += 1;
        else if (!(error instanceof CodedError) || !isTransient(error)) throw error;
        await sleep(RETRY_MS, undefined, { signal: this.#gone }).catch(() => undefined);
      }
    }
  }

  async #submitAndWait(number: number, round: number, asked: BatchRequest): Promise<Done[] | undefined> {
    const { completions } = this.#parts;
    const { tenant, id } = this.#batch;
    const jobs = asked.jobs.map((job) => ({ ...job, deadline_ms: job.deadline_ms ?? JOB_DEADLINE_MS }));
    const admitted = await completions.submit(
      await this.#submitter(),
      { jobs },
      {
        // No client can send a key that begins with this character.
        idempotencyKey: `\0batch ${id} ${number} ${round}`,
        isBackground: true,
        ...(asked.surface === undefined ? {} : { surface: asked.surface }),
      },
    );
    const ids = admitted.map(({ id: job }) => job);
    crashPoint('courier.after-submit');
    try {
      return await completions.done(tenant, ids, AbortSignal.any([this.#gone, this.#stop.signal]));
    } catch (error) {
      if (this.#gone.aborted) return undefined;
      if (!this.#stop.signal.aborted) throw error;
      return await this.#cancel(ids);
    }
  }

  /** Cancels jobs. Returns their answers if they were done before the cancellation took effect. */
  async #cancel(ids: readonly string[]): Promise<Done[] | undefined> {
    const { completions } = this.#parts;
    const { tenant } = this.#batch;
    await completions.cancel(tenant, ids);
    return completions.done(tenant, ids, AbortSignal.timeout(STOP_GRACE_MS)).catch(() => undefined);
  }

  /** Accepted work goes on when its API key ends; the limits are those of now. */
  async #submitter(): Promise<Submitter> {
    const { tenant, keyId } = this.#batch;
    if (performance.now() - this.#limits.atMs > LIMITS_CACHE_MS) {
      this.#limits = { atMs: performance.now(), limits: this.#parts.apiKeys.limitsOf(tenant, keyId) };
    }
    return { tenant, keyId, limits: await this.#limits.limits };
  }
}

const TRANSIENT: ReadonlySet<string> = new Set([
  'storage_unavailable',
  'storage_full',
  'not_durable',
  'overloaded',
  'rate_limited',
  'spend_held',
]);

/** Whether an error is about this moment and not about the request. */
function isTransient({ code }: CodedError): boolean {
  return TRANSIENT.has(code);
}
