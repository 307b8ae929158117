import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import {
  RESOLUTIONS,
  Sums,
  historyOf,
  periodsOf,
  refusal,
  slotOf,
  type Counter,
  type History,
  type Resolution,
  type Span,
} from './tally.ts';

const FLUSH_MS = 1_000;

/** An attempt that an attestor refuted, of a job that has ended. */
export const Refutation = z.strictObject({
  job: z.string(),
  tenant: z.string(),
  model: z.string(),
  worker: z.string(),
  at: z.int().describe('when it was refuted, in ms since 1970'),
  detail: z.string(),
  state: z.string().describe('how the job ended in the end'),
});
export type Refutation = z.infer<typeof Refutation>;

/** How many refutations Redis keeps. */
export const MAX_REFUTATIONS = 200;

/**
 * Counts what a process accepts and refuses, and reads what all of them have counted. Counts are added up
 * here and written once a second, so that they cost the same however much happens; a process that dies takes
 * at most this second of statistics along. Any number of calls may run at once.
 */
export class Tallies {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #sums = new Sums();
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  accepted(jobs: number): void {
    if (jobs > 0) this.#add([['accepted', jobs]]);
  }

  refused(code: string): void {
    this.#add([refusal(code)]);
  }

  /** What a span held up to now. */
  async history(span: Span): Promise<History> {
    const now = Date.now();
    const hashes = await Promise.all(
      periodsOf(span, now).map((period) => this.#redis.hgetall(this.#keys.tally(period))),
    );
    return historyOf(span, now, hashes);
  }

  /** What is counted a second, over the last ten seconds that are over. */
  async rates(counters: readonly Counter[]): Promise<Record<string, number>> {
    const resolution: Resolution = RESOLUTIONS.now;
    const { chunk, slot } = slotOf(resolution, Date.now() - resolution.slotMs);
    const values = await this.#redis.hmget(
      this.#keys.tally(`${resolution.name}:${chunk}`),
      ...counters.map((counter) => `${slot}:${counter}`),
    );
    return Object.fromEntries(
      counters.map((counter, at) => [counter, Number(values[at] ?? 0) / (resolution.slotMs / 1_000)]),
    );
  }

  /** The newest refuted attempts of jobs that have ended, the newest first. */
  async refutations(limit: number): Promise<Refutation[]> {
    const lines = await this.#redis.lrange(this.#keys.refutations, 0, limit - 1);
    return lines.flatMap((line) => {
      const parsed = Refutation.safeParse(JSON.parse(line));
      return parsed.success ? [parsed.data] : [];
    });
  }

  #add(added: Parameters<Sums['add']>[0]): void {
    this.#sums.add(added);
    // What cannot be written is lost: it is statistics, and must hold up nobody.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush().catch(() => undefined);
    }, FLUSH_MS).unref();
  }

  async #flush(): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const { period, lifeMs, fields } of this.#sums.take(Date.now()) ?? []) {
      const key = this.#keys.tally(period);
      for (const [field, by] of fields) pipeline.hincrby(key, field, by);
      pipeline.pexpire(key, lifeMs);
    }
    await pipeline.exec();
  }
}
