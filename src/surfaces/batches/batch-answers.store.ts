import type { Redis } from 'ioredis';
import { UNSTORED_MS } from '../../core/jobs/erased-record.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { oneOf } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { BatchFiles } from './batch-files.store.ts';
import { readLineRecord, readPart, storeLine, writePart, type LineRecord, type PartRecord } from './batch-part.ts';
import type { LineResult } from './line-result.ts';

const KEEP_LINE = loadScript(new URL('./lua/keep-line.lua', import.meta.url), oneOf('kept', 'lost'));
const KEEP_PART = loadScript(new URL('./lua/keep-part.lua', import.meta.url), oneOf('kept', 'lost'));

const lineField = (number: number) => `l${number}`;

/** A line by its place in the input, which counts from 1, and by the name that its owner gave it. */
export interface NumberedLine {
  readonly number: number;
  readonly customId: string;
}

/** A batch, and the lease under which it is worked on. */
export interface HeldBatch {
  readonly id: string;
  readonly holder: string;
}

/** What is known of the lines of a batch: whole parts, and single lines of the other parts. */
export interface KnownAnswers {
  readonly parts: ReadonlyMap<number, PartRecord>;
  readonly lines: ReadonlySet<number>;
}

/**
 * The answers to the lines of batches, each durable as soon as it is known. Every writing names the lease
 * that the writer holds, and writes nothing where another holds the batch by now.
 */
export class BatchAnswers {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #files: BatchFiles;

  constructor(redis: Redis, keys: RedisKeys, files: BatchFiles) {
    this.#redis = redis;
    this.#keys = keys;
    this.#files = files;
  }

  /**
   * Keeps what became of a line; `jobs` may be forgotten from then on. Returns whether the lease was held.
   */
  async keep(
    { id, holder }: HeldBatch,
    { number, customId }: NumberedLine,
    result: LineResult,
    jobs: readonly string[],
  ): Promise<boolean> {
    const record = await storeLine(this.#files.blobs, result, customId);
    const reply = await KEEP_LINE.run(
      this.#redis,
      [
        this.#keys.batch(id),
        this.#keys.batchParts(id),
        this.#keys.batchLease(id),
        this.#keys.batchJobs,
        this.#keys.erasures,
      ],
      [
        holder,
        lineField(number),
        JSON.stringify(record),
        record.isError ? 'failed' : 'completed',
        Date.now() + UNSTORED_MS,
        ...jobs,
      ],
    );
    return reply === 'kept';
  }

  /**
   * Writes a part in place of its lines. `other` says what becomes of a line of which nothing is kept; where
   * nobody says it and there is such a line, nothing is written: `incomplete`. `lost`: another holds the
   * batch.
   */
  async keepPart(
    { id, holder }: HeldBatch,
    index: number,
    numbered: readonly NumberedLine[],
    other: ((line: NumberedLine) => LineResult) | undefined,
  ): Promise<'kept' | 'lost' | 'incomplete'> {
    const numbers = numbered.map(({ number }) => number);
    const found = await this.#lines(id, numbers);
    const lines: LineRecord[] = [];
    for (const [at, line] of numbered.entries()) {
      const record = found[at] ?? (other && (await storeLine(this.#files.blobs, other(line), line.customId)));
      if (record === undefined) {
        // After a lost reply they are gone because their part is there.
        const isWritten = (await this.#redis.hexists(this.#keys.batchParts(id), String(index))) === 1;
        return isWritten ? 'kept' : 'incomplete';
      }
      lines.push(record);
    }
    const part = await writePart(this.#files.blobs, lines);
    return KEEP_PART.run(
      this.#redis,
      [this.#keys.batchParts(id), this.#keys.batchLease(id), this.#keys.filesGone],
      [holder, index, JSON.stringify(part), Date.now(), ...numbers.map(lineField)],
    );
  }

  /** What is known of a batch's lines now. */
  async known(id: string): Promise<KnownAnswers> {
    const fields = await this.#redis.hkeys(this.#keys.batchParts(id));
    const lines = new Set(fields.filter((one) => one.startsWith('l')).map((one) => Number(one.slice(1))));
    const indexes = fields.filter((one) => !one.startsWith('l'));
    const texts = indexes.length === 0 ? [] : await this.#redis.hmget(this.#keys.batchParts(id), ...indexes);
    const parts = new Map<number, PartRecord>();
    for (const [at, text] of texts.entries()) if (text !== null) parts.set(Number(indexes[at]), readPart(text));
    return { parts, lines };
  }

  /** The digests of all blobs that hold answers of a batch that is not over. */
  async blobsOf(id: string): Promise<string[]> {
    const found = await this.#redis.hgetall(this.#keys.batchParts(id));
    return Object.entries(found).flatMap(([field, text]) => {
      const { sha256 } = field.startsWith('l') ? readLineRecord(text) : readPart(text);
      return sha256 === undefined ? [] : [sha256];
    });
  }

  async #lines(id: string, numbers: readonly number[]): Promise<(LineRecord | undefined)[]> {
    if (numbers.length === 0) return [];
    const found = await this.#redis.hmget(this.#keys.batchParts(id), ...numbers.map(lineField));
    return found.map((text) => (text === null ? undefined : readLineRecord(text)));
  }
}
