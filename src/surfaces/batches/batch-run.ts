import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Completions } from '../openai/completions.ts';
import type { ApiKeys } from '../tenants/api-key.store.ts';
import type { BatchFiles } from './batch-files.store.ts';
import type { Submitter } from '../admission/admission.ts';
import { MAX_LINES, isLineError, linesOf, readLine, type BatchLine } from './batch-line.ts';
import { readBatchRequest, type BatchRequest } from './batch-request.ts';
import { PART_LINES, readPart, writePart, type LineResult } from './batch-part.ts';
import type { BatchRecord, Batches, LineError } from './batch.store.ts';
import { writeResults } from './batch-results.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { openAiError } from '../openai/openai-error.ts';

/** Lines whose jobs run or wait at once. */
const LINES_AT_ONCE = 128;
/** Parts that are worked on at once, so that the slowest line of one does not hold up the next. */
const PARTS_AT_ONCE = 3;
const MAX_ERRORS_LISTED = 100;
/** A job of a batch may wait as long as the batch; the batch itself ends it earlier. */
const JOB_DEADLINE_MS = 86_400_000;
const TELL_EVERY_MS = 500;
const RETRY_MS = 500;
const STOP_GRACE_MS = 5_000;
const LIMITS_CACHE_MS = 1_000;

/** Why the lines that are left are not run. */
type Stop = 'cancelled' | 'expired';

/** What running batches needs. */
export interface BatchParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly batches: Batches;
  readonly files: BatchFiles;
  readonly completions: Completions;
  readonly apiKeys: ApiKeys;
}

/**
 * Works one batch off, part by part. What is certain stands in Redis: which parts are written, each once. Everything else
 * can be done again: a line is submitted under a key made of its place, so that it finds the job it already has, and results are
 * written under names made of the batch.
 */
export class BatchRun {
  readonly #parts: BatchParts;
  readonly #logger: Logger;
  readonly #batch: BatchRecord;
  readonly #gone: AbortSignal;
  readonly #stopping = new AbortController();
  #stop: Stop | undefined;
  #inFlight = 0;
  #waiting: (() => void)[] = [];
  #limits: { at: number; limits: Promise<Submitter['limits']> } = {
    at: -Infinity,
    limits: Promise.resolve({ tenant: {}, key: {} }),
  };
  #counts = { completed: 0, failed: 0 };

  /** `gone` is aborted when this process stops or has lost its lease on the batch. */
  constructor(parts: BatchParts, logger: Logger, batch: BatchRecord, gone: AbortSignal) {
    this.#parts = parts;
    this.#logger = logger;
    this.#batch = batch;
    this.#gone = gone;
  }

  /** Until the batch is over, or `gone`. */
  async run(): Promise<void> {
    const { batches } = this.#parts;
    const { id } = this.#batch;
    let { status } = this.#batch;
    if (status === 'validating') {
      await this.#validate();
      status = (await batches.read(id))?.status ?? 'failed';
    }
    if (status === 'in_progress' || status === 'cancelling') {
      if (status === 'cancelling') this.#stopFor('cancelled');
      const watch = setInterval(() => void this.#watch(), TELL_EVERY_MS);
      try {
        await this.#workOff();
      } finally {
        clearInterval(watch);
      }
      await this.#watch();
      if (this.#gone.aborted) return;
      await batches.move(id, 'finalizing');
    }
    if (!this.#gone.aborted) await this.#finalize();
  }

  /** Reads the whole file once. What is wrong with its form fails the batch before anything runs. */
  async #validate(): Promise<void> {
    const { batches, files } = this.#parts;
    const { id, endpoint, inputSha256 } = this.#batch;
    const errors: LineError[] = [];
    const seen = new Set<string>();
    let total = 0;
    let model: string | undefined;
    const fail = (code: string, message: string, line: number | null, param: string | null = null) => {
      if (errors.length < MAX_ERRORS_LISTED) errors.push({ code, message, line, param });
    };
    try {
      for await (const bytes of linesOf(files.blobs.read(inputSha256))) {
        if (this.#gone.aborted) return;
        total += 1;
        if (total > MAX_LINES) {
          fail('too_many_lines', `A batch has at most ${MAX_LINES} lines.`, total);
          break;
        }
        const line = bytes === undefined ? undefined : readLine(bytes, total, endpoint);
        if (line === undefined) fail('line_too_long', 'This line is longer than any request may be.', total);
        else if (isLineError(line)) fail(line.code, line.message, line.line, line.param);
        else if (seen.has(line.customId))
          fail('duplicate_custom_id', 'Another line has this custom_id already.', total, 'custom_id');
        else {
          seen.add(line.customId);
          model ??= modelOf(line);
        }
      }
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      fail('file_unreadable', 'The input file cannot be read; upload it again.', null);
    }
    if (total === 0) fail('empty_file', 'The input file has no lines.', null);
    if (errors.length > 0) await batches.move(id, 'failed', { errors: JSON.stringify(errors), total });
    else await batches.move(id, 'in_progress', { total, ...(model === undefined ? {} : { model }) });
  }

  /** Runs every line that is not in a written part yet. */
  async #workOff(): Promise<void> {
    const written = await this.#writtenParts();
    for (const part of written.values()) {
      this.#counts.completed += part.completed;
      this.#counts.failed += part.failed;
    }
    const parts = new Set<Promise<void>>();
    let lines: { number: number; line: BatchLine }[] = [];
    let place = 0;
    let failure: unknown;
    const begin = async () => {
      const [mine, index] = [lines, place];
      lines = [];
      place += 1;
      if (mine.length === 0 || written.has(index) || this.#gone.aborted) return;
      const work: Promise<void> = this.#part(index, mine)
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(() => parts.delete(work));
      parts.add(work);
      if (parts.size >= PARTS_AT_ONCE) await Promise.race(parts);
    };
    let number = 0;
    for await (const bytes of linesOf(this.#parts.files.blobs.read(this.#batch.inputSha256))) {
      number += 1;
      const line = bytes === undefined ? undefined : readLine(bytes, number, this.#batch.endpoint);
      if (line !== undefined && !isLineError(line)) lines.push({ number, line });
      if (number % PART_LINES === 0) await begin();
      if (failure !== undefined || this.#gone.aborted) break;
    }
    // A part that was read half is no part.
    if (failure === undefined && !this.#gone.aborted) await begin();
    await Promise.all(parts);
    if (failure !== undefined) throw failure instanceof Error ? failure : new Error(messageOf(failure));
  }

  async #part(index: number, lines: readonly { number: number; line: BatchLine }[]): Promise<void> {
    const results = await Promise.all(
      lines.map(async ({ number, line }) => {
        await this.#enter();
        try {
          const result = await this.#line(number, line);
          this.#counts[result.isError ? 'failed' : 'completed'] += 1;
          return result;
        } finally {
          this.#leave();
        }
      }),
    );
    // Some of them were not run because nobody wants this process any more: another one does them.
    if (this.#gone.aborted) return;
    crashPoint('courier.before-part');
    const { redis, keys, files } = this.#parts;
    const part = await writePart(files.blobs, results);
    await redis.hsetnx(keys.batchParts(this.#batch.id), String(index), JSON.stringify(part));
    crashPoint('courier.after-part');
  }

  async #line(number: number, { customId, body }: BatchLine): Promise<LineResult> {
    const request = `batch_req_${this.#batch.id.slice(6)}${number.toString().padStart(6, '0')}`;
    const about = { id: request, custom_id: customId };
    const failed = (error: CodedError): LineResult => ({
      isError: true,
      leaves: [],
      usage: [0, 0],
      line: {
        ...about,
        response: {
          status_code: error.status,
          request_id: error.headers['countersign-job'] ?? request,
          body: openAiError(error),
        },
        error: null,
      },
    });
    const unrun = (why: Stop): LineResult => ({
      isError: true,
      leaves: [],
      usage: [0, 0],
      line: {
        ...about,
        response: null,
        error: {
          code: `batch_${why}`,
          message:
            why === 'expired'
              ? 'This request could not be run before the completion window was over.'
              : 'The batch was cancelled before this request was done.',
        },
      },
    });
    let asked: BatchRequest;
    try {
      asked = readBatchRequest(this.#batch.endpoint, body);
    } catch (error) {
      if (error instanceof CodedError) return failed(error);
      throw error;
    }
    try {
      const done = await this.#answer(number, asked);
      if (done === undefined) return unrun(this.#stop ?? 'cancelled');
      return {
        isError: false,
        leaves: done.map(({ verdict }) => verdict),
        usage: [
          done.reduce((sum, { usage }) => sum + usage.inputTokens, 0),
          done.reduce((sum, { usage }) => sum + usage.outputTokens, 0),
        ],
        line: {
          ...about,
          response: { status_code: 200, request_id: done[0]?.id ?? request, body: asked.answer(done) },
          error: null,
        },
      };
    } catch (error) {
      if (error instanceof CodedError && !isPassing(error)) return failed(error);
      throw error;
    }
  }

  /**
   * The line's jobs once they are done; undefined where they were stopped before. What passes by itself (storage away, limits
   * of the tenant) is waited for: the batch has a day.
   */
  async #answer(number: number, asked: BatchRequest) {
    const { completions } = this.#parts;
    const { tenant, id } = this.#batch;
    const jobs = asked.jobs.map((job) => ({ ...job, deadline_ms: job.deadline_ms ?? JOB_DEADLINE_MS }));
    for (let round = 0; ;) {
      if (this.#isOver()) return undefined;
      try {
        // No client can send a key that begins with this character.
        const idempotencyKey = `\0batch ${id} ${number} ${round}`;
        const admitted = await completions.submit(
          await this.#submitter(),
          { jobs },
          { idempotencyKey, isBackground: true, ...(asked.surface === undefined ? {} : { surface: asked.surface }) },
        );
        const ids = admitted.map(({ id: job }) => job);
        crashPoint('courier.after-submit');
        const signal = AbortSignal.any([this.#gone, this.#stopping.signal]);
        try {
          return await completions.done(tenant, ids, signal);
        } catch (error) {
          if (this.#gone.aborted) return undefined;
          if (!this.#stopping.signal.aborted) throw error;
          return await this.#lastLook(ids);
        }
      } catch (error) {
        // A job that was done and forgotten while nobody wrote it down is run again.
        if (error instanceof CodedError && error.code === 'job_not_found') round += 1;
        else if (!(error instanceof CodedError) || !isPassing(error)) throw error;
        await pause(RETRY_MS, this.#gone);
      }
    }
  }

  /** Accepted work goes on when its key ends; the limits are those of now. */
  async #submitter(): Promise<Submitter> {
    const { tenant, keyId } = this.#batch;
    if (performance.now() - this.#limits.at > LIMITS_CACHE_MS) {
      this.#limits = { at: performance.now(), limits: this.#parts.apiKeys.limitsOf(tenant, keyId) };
    }
    return { tenant, keyId, limits: await this.#limits.limits };
  }

  /** Stops what runs; what was done before that took effect is kept. */
  async #lastLook(ids: readonly string[]) {
    const { completions } = this.#parts;
    const { tenant } = this.#batch;
    await completions.cancel(tenant, ids);
    return completions.done(tenant, ids, AbortSignal.timeout(STOP_GRACE_MS)).catch(() => undefined);
  }

  async #finalize(): Promise<void> {
    const { batches, files } = this.#parts;
    const parts = [...(await this.#writtenParts()).entries()].toSorted(([a], [b]) => a - b).map(([, part]) => part);
    crashPoint('courier.before-results');
    const results = await writeResults(files, this.#batch, parts);
    crashPoint('courier.after-results');
    const record = await batches.read(this.#batch.id);
    const isExpired = record !== undefined && Date.now() >= record.expiresMs;
    const to = record?.status === 'cancelling' ? 'cancelled' : isExpired ? 'expired' : 'completed';
    await batches.move(this.#batch.id, to, results);
    this.#logger.info({ batch: this.#batch.id, status: to, ...results }, 'batch over');
  }

  async #writtenParts() {
    const found = await this.#parts.redis.hgetall(this.#parts.keys.batchParts(this.#batch.id));
    return new Map(Object.entries(found).map(([index, text]) => [Number(index), readPart(text)]));
  }

  /** Tells people where it stands, and hears whether it is to stop. */
  async #watch(): Promise<void> {
    const { batches } = this.#parts;
    try {
      await batches.tell(this.#batch.id, this.#counts);
      const record = await batches.read(this.#batch.id);
      if (record?.status === 'cancelling') this.#stopFor('cancelled');
      else if (record !== undefined && Date.now() >= record.expiresMs) this.#stopFor('expired');
    } catch (error) {
      this.#logger.warn({ batch: this.#batch.id }, `cannot look after the batch: ${messageOf(error)}`);
    }
  }

  #stopFor(why: Stop): void {
    this.#stop ??= why;
    this.#stopping.abort();
  }

  #isOver(): boolean {
    return this.#gone.aborted || this.#stopping.signal.aborted;
  }

  async #enter(): Promise<void> {
    while (this.#inFlight >= LINES_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#inFlight += 1;
  }

  #leave(): void {
    this.#inFlight -= 1;
    this.#waiting.shift()?.();
  }
}

function modelOf({ body }: BatchLine): string | undefined {
  return typeof body === 'object' && body !== null && 'model' in body && typeof body.model === 'string'
    ? body.model.slice(0, 63)
    : undefined;
}

/** Refusals that are about this moment and not about the request. */
function isPassing({ code }: CodedError): boolean {
  return code === 'storage_unavailable' || code === 'overloaded' || code === 'rate_limited';
}

/** Resolves after `ms`, or when the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
