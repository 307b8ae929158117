import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { BATCH_ENDPOINTS } from './batch-request.ts';
import { isAmong, tenantOf, type Whose } from '../../core/jobs/whose.ts';
import { cells, integer, oneOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';
import type { HeldBatch } from './batch-answers.store.ts';
import type { FileRecord } from './batch-files.store.ts';
import { STOP_REASONS, type StopReason } from './line-result.ts';

const CREATE = loadScript(new URL('./lua/create-batch.lua', import.meta.url), oneOf('created', 'known', 'full'));
const MOVE = loadScript(new URL('./lua/move-batch.lua', import.meta.url), oneOf('moved', 'refused'));
const END = loadScript(new URL('./lua/end-batch.lua', import.meta.url), oneOf('moved', 'refused'));
const RENEW = loadScript(new URL('./lua/renew-batch.lua', import.meta.url), parseRenewed);
const GIVE_UP = loadScript(new URL('./lua/give-up-batch.lua', import.meta.url), integer);

/** The statuses of OpenAI's batches. */
export const BATCH_STATUSES = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const;
export type BatchStatus = (typeof BATCH_STATUSES)[number];

/** The only legal moves; `move-batch.lua` gets the statuses that a batch may come from. */
const MOVES: Record<BatchStatus, readonly BatchStatus[]> = {
  validating: ['failed', 'in_progress', 'cancelling', 'finalizing'],
  in_progress: ['finalizing', 'cancelling'],
  cancelling: ['cancelled'],
  finalizing: ['completed', 'expired'],
  completed: [],
  failed: [],
  expired: [],
  cancelled: [],
};

/** Whether a batch with this status is final. */
export const isOver = (status: BatchStatus) => MOVES[status].length === 0;

/** A batch runs for a day at most, and is kept for thirty days after its end. */
export const WINDOW_MS = 86_400_000;
/** No courier may run for so long: whatever a batch needs of its lines outlives its window by this. */
export const COURIER_AWAY_MS = 3 * 86_400_000;
const KEEP_MS = 30 * 86_400_000;
const MAX_OPEN = 1_000;
const MAX_OPEN_PER_TENANT = 20;
const LIST_PAGE = 10_000;

/** What is wrong with one line of a batch's input, in OpenAI's shape. */
export const LineError = z.object({
  code: z.string(),
  message: z.string(),
  line: z.number().nullable(),
  param: z.string().nullable(),
});
/** What is wrong with a line of the input, or with the whole file, in OpenAI's shape. */
export type LineError = z.infer<typeof LineError>;

const Times = Object.fromEntries(
  BATCH_STATUSES.map((status) => [`${status}Ms`, z.coerce.number().optional()]),
) as Record<`${BatchStatus}Ms`, z.ZodOptional<z.ZodCoercedNumber>>;

const BatchRecord = z.object({
  tenant: z.string(),
  keyId: z.string(),
  endpoint: z.enum(BATCH_ENDPOINTS),
  inputFile: z.string(),
  inputSha256: z.string(),
  metadata: z.string().transform((text) => z.record(z.string(), z.string()).parse(JSON.parse(text))),
  status: z.enum(BATCH_STATUSES),
  createdMs: z.coerce.number(),
  expiresMs: z.coerce.number(),
  total: z.coerce.number().default(0),
  completed: z.coerce.number().default(0),
  failed: z.coerce.number().default(0),
  model: z.string().optional(),
  promptTokens: z.coerce.number().default(0),
  completionTokens: z.coerce.number().default(0),
  errors: z
    .string()
    .transform((text) => z.array(LineError).parse(JSON.parse(text)))
    .optional(),
  outputFile: z.string().optional(),
  errorFile: z.string().optional(),
  receiptsRoot: z.string().optional(),
  receipts: z.coerce.number().optional(),
  /** Why its lines are not run any more, once that is so. */
  stop: z.enum(STOP_REASONS).optional(),
  /** How long its results are kept, in seconds. */
  outputSeconds: z.coerce.number().optional(),
  ...Times,
});
export type BatchRecord = z.infer<typeof BatchRecord> & { readonly id: string };

/** The id of a batch to come. */
export const newBatchId = () => `batch_${freshRandom(12).toString('hex')}`;

const UNKNOWN = 'There is no batch with this id.';

/**
 * Batches of tenants. Every change of status is a compare-and-set, so any number of processes may call at
 * once.
 */
@Injectable()
export class Batches {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * Makes a batch in the status `validating`; where one has this id already, it is that one. Throws
   * CodedError `too_many_batches`.
   */
  async create(
    id: string,
    batch: {
      tenant: string;
      keyId: string;
      endpoint: BatchRecord['endpoint'];
      inputFile: string;
      inputSha256: string;
      metadata: Record<string, string>;
      outputSeconds?: number;
    },
  ): Promise<BatchRecord> {
    const createdMs = Date.now();
    const fields = {
      ...batch,
      metadata: JSON.stringify(batch.metadata),
      status: 'validating' satisfies BatchStatus,
      createdMs,
      expiresMs: createdMs + WINDOW_MS,
    };
    const reply = await CREATE.run(
      this.#redis,
      [this.#keys.batch(id), this.#keys.batchesOf(batch.tenant), this.#keys.batches],
      [
        ...[this.#keys.prefix, id, createdMs, MAX_OPEN_PER_TENANT, MAX_OPEN],
        BATCH_STATUSES.filter(isOver).join(' '),
        ...Object.entries(fields).flat(),
      ],
    );
    if (reply === 'full')
      throw new CodedError(
        'too_many_batches',
        `At most ${MAX_OPEN_PER_TENANT} of your batches run at a time, and ${MAX_OPEN} of all; try again when one is over.`,
        { headers: { 'retry-after': '60' } },
      );
    return this.get(batch.tenant, id);
  }

  /** One of these batches. Throws CodedError `batch_not_found`. */
  async get(whose: Whose, id: string): Promise<BatchRecord> {
    const batch = await this.read(id);
    if (batch === undefined || !isAmong(whose, batch)) throw new CodedError('batch_not_found', UNKNOWN);
    return batch;
  }

  /** A batch of any tenant, or undefined. */
  async read(id: string): Promise<BatchRecord | undefined> {
    if (!/^batch_[0-9a-f]{24}$/.test(id)) return undefined;
    const parsed = BatchRecord.safeParse(await this.#redis.hgetall(this.#keys.batch(id)));
    return parsed.success ? { id, ...parsed.data } : undefined;
  }

  /**
   * A page of these batches, newest first, after the batch `after`. Throws CodedError `batch_not_found`.
   */
  async list(
    whose: Whose,
    query: { after?: string | undefined; limit: number },
  ): Promise<{ batches: BatchRecord[]; hasMore: boolean }> {
    const tenant = tenantOf(whose);
    const ids = await this.#redis.zrevrange(this.#keys.batchesOf(tenant), 0, LIST_PAGE);
    const from = query.after === undefined ? 0 : ids.indexOf(query.after) + 1;
    if (query.after !== undefined && from === 0) throw new CodedError('batch_not_found', UNKNOWN, { param: 'after' });
    const batches: BatchRecord[] = [];
    for (const id of ids.slice(from)) {
      const batch = await this.read(id);
      if (batch === undefined) await this.#redis.zrem(this.#keys.batchesOf(tenant), id);
      if (batch === undefined || !isAmong(whose, batch)) continue;
      if (batches.length === query.limit) return { batches, hasMore: true };
      batches.push(batch);
    }
    return { batches, hasMore: false };
  }

  /** Ids of batches that are not over, or whose end has no event yet; oldest first. */
  async open(): Promise<string[]> {
    return this.#redis.zrange(this.#keys.batches, '0', String(MAX_OPEN - 1));
  }

  /**
   * Moves a batch if the table allows it, and writes `fields` with the move. A courier names the lease that
   * it holds; without one it is the wish of the batch's owner. Returns whether it moved.
   */
  async move(id: string, to: BatchStatus, fields: Record<string, string | number> = {}, holder = ''): Promise<boolean> {
    const reply = await MOVE.run(
      this.#redis,
      [this.#keys.batch(id), this.#keys.batchLease(id)],
      [holder, to, movesTo(to).join(' '), Date.now(), ...Object.entries(fields).flat()],
    );
    return reply === 'moved';
  }

  /** Ends a batch with its last fields and its files, in one step. Returns whether it ended by this. */
  async end(
    { id, holder }: HeldBatch,
    to: BatchStatus,
    fields: Record<string, string | number>,
    files: readonly FileRecord[],
  ): Promise<boolean> {
    const written = files.map(({ id: file, ...record }) => ({
      id: file,
      tenant: record.tenant,
      createdMs: record.createdMs,
      expiresMs: record.expiresMs,
      fields: Object.entries(record).flat().map(String),
    }));
    const ending = {
      status: to,
      from: movesTo(to),
      atMs: Date.now(),
      keepMs: KEEP_MS,
      fields: Object.entries(fields).flat().map(String),
      files: written,
    };
    const reply = await END.run(
      this.#redis,
      [this.#keys.batch(id), this.#keys.batchLease(id), this.#keys.batchParts(id), this.#keys.files],
      [this.#keys.prefix, JSON.stringify(ending), holder],
    );
    return reply === 'moved';
  }

  /**
   * Takes the lease of a batch or renews it for `leaseMs`. Returns the batch's status and the end of its
   * window, or undefined where the lease is another's or has run out.
   */
  async hold({ id, holder }: HeldBatch, leaseMs: number, how: 'take' | 'renew'): Promise<HeldStatus | undefined> {
    return RENEW.run(this.#redis, [this.#keys.batchLease(id), this.#keys.batch(id)], [holder, leaseMs, how]);
  }

  /** Gives a lease back, so that another courier may take the batch at once. */
  async giveUp({ id, holder }: HeldBatch): Promise<void> {
    await GIVE_UP.run(this.#redis, [this.#keys.batchLease(id)], [holder]);
  }

  /** Takes ids off the list of open batches of which there is no record any more. */
  async forget(ids: readonly string[]): Promise<void> {
    for (const id of ids)
      if ((await this.#redis.exists(this.#keys.batch(id))) === 0) await this.#redis.zrem(this.#keys.batches, id);
  }
}

/** The statuses that a batch may come from. */
function movesTo(to: BatchStatus): BatchStatus[] {
  return BATCH_STATUSES.filter((status) => MOVES[status].includes(to));
}

/** What a courier that holds a batch is told of it. */
export interface HeldStatus {
  /** Empty where there is no batch any more. */
  readonly status: string;
  readonly expiresMs: number;
  /** Why it is stopped, where it is and somebody said so. */
  readonly stop: StopReason | undefined;
}

function parseRenewed(reply: unknown): HeldStatus | undefined {
  const [word, status, expires, stop] = cells(reply);
  if (word !== 'held') return undefined;
  const why = STOP_REASONS.find((reason) => reason === stop);
  return { status: text(status), expiresMs: Number(text(expires)), stop: why };
}
