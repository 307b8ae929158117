import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { crashPoint } from '../../ground/faults/crash-point.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { BatchFiles } from './batch-files.store.ts';
import { isLineError, linesOf, readLine, type BatchLine } from './batch-line.ts';
import { PART_LINES, readPart, writePart, type PartRecord } from './batch-part.ts';
import { writeResults } from './batch-results.ts';
import { BatchStop } from './batch-stop.ts';
import { validateInput } from './batch-validation.ts';
import type { BatchRecord, Batches } from './batch.store.ts';
import { LineRunner, type LineParts } from './line-runner.ts';

/** Lines whose jobs run or wait at once. */
const MAX_LINES_AT_ONCE = 128;
/** Several parts run at once, so that the slowest line of one does not hold up the next. */
const MAX_PARTS_AT_ONCE = 3;
const WATCH_EVERY_MS = 500;

/** What running batches needs. */
export interface BatchParts extends LineParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly batches: Batches;
  readonly files: BatchFiles;
}

interface NumberedLine {
  readonly number: number;
  readonly line: BatchLine;
}

/**
 * Runs one batch, part by part. Redis records which parts are written, each once; that alone is certain.
 * Everything else can be repeated: a line finds the jobs it already has, and results are written under names
 * made of the batch.
 */
export class BatchRun {
  readonly #parts: BatchParts;
  readonly #logger: Logger;
  readonly #batch: BatchRecord;
  readonly #gone: AbortSignal;
  readonly #stop = new BatchStop();
  readonly #lines: LineRunner;
  #inFlight = 0;
  #waiting: (() => void)[] = [];
  #counts = { completed: 0, failed: 0 };

  /** `gone` is aborted when this process stops or has lost its lease on the batch. */
  constructor(parts: BatchParts, logger: Logger, batch: BatchRecord, gone: AbortSignal) {
    this.#parts = parts;
    this.#logger = logger;
    this.#batch = batch;
    this.#gone = gone;
    this.#lines = new LineRunner(parts, batch, gone, this.#stop);
  }

  /** Resolves when the batch is over, or `gone`. Call it once. */
  async run(): Promise<void> {
    const { batches } = this.#parts;
    const { id } = this.#batch;
    let { status } = this.#batch;
    if (status === 'validating') {
      await this.#validate();
      status = (await batches.read(id))?.status ?? 'failed';
    }
    if (status === 'in_progress' || status === 'cancelling') {
      if (status === 'cancelling') this.#stop.stop('cancelled');
      const watch = setInterval(() => void this.#watch(), WATCH_EVERY_MS);
      try {
        await this.#runParts();
      } finally {
        clearInterval(watch);
      }
      await this.#watch();
      if (this.#gone.aborted) return;
      await batches.move(id, 'finalizing');
    }
    if (!this.#gone.aborted) await this.#finalize();
  }

  /** Errors in the form of the input fail the batch before anything runs. */
  async #validate(): Promise<void> {
    const { batches, files } = this.#parts;
    const { id, endpoint, inputSha256 } = this.#batch;
    const { errors, total, model } = await validateInput(linesOf(files.blobs.read(inputSha256)), endpoint, this.#gone);
    if (this.#gone.aborted) return;
    if (errors.length > 0) await batches.move(id, 'failed', { errors: JSON.stringify(errors), total });
    else await batches.move(id, 'in_progress', { total, ...(model === undefined ? {} : { model }) });
  }

  /** Runs every line that is not in a written part yet. */
  async #runParts(): Promise<void> {
    const written = await this.#writtenParts();
    for (const part of written.values()) {
      this.#counts.completed += part.completed;
      this.#counts.failed += part.failed;
    }
    const running = new Set<Promise<void>>();
    let failure: unknown;
    const hasEnded = () => failure !== undefined || this.#gone.aborted;
    for await (const [index, lines] of this.#inputParts()) {
      if (hasEnded()) break;
      if (lines.length === 0 || written.has(index)) continue;
      const work: Promise<void> = this.#runPart(index, lines)
        .catch((error: unknown) => {
          failure ??= error;
        })
        .finally(() => running.delete(work));
      running.add(work);
      if (running.size >= MAX_PARTS_AT_ONCE) await Promise.race(running);
    }
    await Promise.all(running);
    if (failure !== undefined) throw failure instanceof Error ? failure : new Error(messageOf(failure));
  }

  /** The input in parts of `PART_LINES` lines, each with its index. */
  async *#inputParts(): AsyncGenerator<[index: number, lines: readonly NumberedLine[]]> {
    let lines: NumberedLine[] = [];
    let number = 0;
    for await (const bytes of linesOf(this.#parts.files.blobs.read(this.#batch.inputSha256))) {
      number += 1;
      const line = bytes === undefined ? undefined : readLine(bytes, number, this.#batch.endpoint);
      if (line !== undefined && !isLineError(line)) lines.push({ number, line });
      if (number % PART_LINES !== 0) continue;
      yield [number / PART_LINES - 1, lines];
      lines = [];
    }
    yield [Math.floor(number / PART_LINES), lines];
  }

  async #runPart(index: number, lines: readonly NumberedLine[]): Promise<void> {
    const results = await Promise.all(
      lines.map(async ({ number, line }) => {
        await this.#enter();
        try {
          const result = await this.#lines.run(number, line);
          this.#counts[result.isError ? 'failed' : 'completed'] += 1;
          return result;
        } finally {
          this.#leave();
        }
      }),
    );
    // Some of them were not run, because this process stops or lost its lease: another process does them.
    if (this.#gone.aborted) return;
    crashPoint('courier.before-part');
    const { redis, keys, files } = this.#parts;
    const part = await writePart(files.blobs, results);
    await redis.hsetnx(keys.batchParts(this.#batch.id), String(index), JSON.stringify(part));
    crashPoint('courier.after-part');
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

  async #writtenParts(): Promise<Map<number, PartRecord>> {
    const found = await this.#parts.redis.hgetall(this.#parts.keys.batchParts(this.#batch.id));
    return new Map(Object.entries(found).map(([index, text]) => [Number(index), readPart(text)]));
  }

  /** Publishes the counts, and reads whether the batch is to stop. */
  async #watch(): Promise<void> {
    const { batches } = this.#parts;
    try {
      await batches.setCounts(this.#batch.id, this.#counts);
      const record = await batches.read(this.#batch.id);
      if (record?.status === 'cancelling') this.#stop.stop('cancelled');
      else if (record !== undefined && Date.now() >= record.expiresMs) this.#stop.stop('expired');
    } catch (error) {
      this.#logger.warn({ batch: this.#batch.id }, `the batch cannot be watched: ${messageOf(error)}`);
    }
  }

  async #enter(): Promise<void> {
    while (this.#inFlight >= MAX_LINES_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#inFlight += 1;
  }

  #leave(): void {
    this.#inFlight -= 1;
    this.#waiting.shift()?.();
  }
}
