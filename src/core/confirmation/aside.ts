import { z } from 'zod';
import type { Redis } from 'ioredis';
import { messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { LONGEST_PAUSE_MS, growingPause } from '../../ground/process/growing-pause.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer, listOf, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const PUT = loadScript(new URL('./lua/put-aside.lua', import.meta.url), listOf(integer));
const TAKE = loadScript(new URL('./lua/take-aside.lua', import.meta.url), parseTaken);

/** A case that was taken is another attestor's after this time: whoever took it has died. */
const TAKEN_MS = 30_000;
const BATCH = 200;
const MAX_CAUSE = 200;

/**
 * Cases that cannot be judged now, whatever the reason: put aside with growing pauses, counted, shown and
 * tried again. They stand in no other case's way, and end at their deadline like any other job. All attestors
 * share them. Any number of callers at once.
 */
export class Aside {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #warn: (about: { job: string; cause: string; failures: number }) => void;
  /** Whether a case may be aside: none is looked for where there was none. */
  #mayHold = true;

  constructor(redis: Redis, keys: RedisKeys, logger: Logger) {
    this.#redis = redis;
    this.#keys = keys;
    this.#warn = rateLimited<{ job: string; cause: string; failures: number }>(5_000, (about, suppressed) =>
      logger.warn({ ...about, suppressed }, 'a case cannot be judged now and is put aside'),
    );
  }

  /** Puts cases aside. Resolves when Redis has them; until then they are still the caller's. */
  async put(cases: readonly { readonly id: string; readonly error: unknown }[]): Promise<void> {
    if (cases.length === 0) return;
    const named = cases.map(({ id, error }) => ({ id, cause: causeOf(error) }));
    const counts = await PUT.run(
      this.#redis,
      [this.#keys.aside, this.#keys.asideWhy],
      [growingPause(1), LONGEST_PAUSE_MS, ...named.flatMap(({ id, cause }) => [id, cause])],
    );
    this.#mayHold = true;
    named.forEach(({ id, cause }, at) => this.#warn({ job: id, cause, failures: counts[at] ?? 0 }));
  }

  /** These cases without those that are aside: they come again at the time of their next try. */
  async without<Case extends { readonly id: string }>(cases: readonly Case[]): Promise<readonly Case[]> {
    if (!this.#mayHold || cases.length === 0) return cases;
    const known = await this.#redis.hmget(this.#keys.asideWhy, ...cases.map(({ id }) => id));
    return cases.filter((_, at) => known[at] === null);
  }

  /** Takes cases whose next try has come. No other attestor gets them for a while. */
  async takeDue(): Promise<string[]> {
    const { size, due } = await TAKE.run(this.#redis, [this.#keys.aside], [TAKEN_MS, BATCH]);
    this.#mayHold = size > 0;
    return due;
  }

  /** Cases that were judged, or whose job has ended. */
  async remove(ids: readonly string[]): Promise<void> {
    if (!this.#mayHold || ids.length === 0) return;
    await this.#redis
      .multi()
      .zrem(this.#keys.aside, ...ids)
      .hdel(this.#keys.asideWhy, ...ids)
      .exec();
  }
}

function parseTaken(reply: unknown): { size: number; due: string[] } {
  const [size, ...due] = cells(reply);
  return { size: integer(size), due: due.map(text) };
}

/**
 * Why, for operators: a stable word where there is one, else what our own code says. The messages of parsers
 * and of engines can repeat what a tenant wrote; of them, only the name is told.
 */
export function causeOf(error: unknown): string {
  const code = systemCodeOf(error);
  const isOurs = error instanceof Error && error.constructor === Error;
  const word = code ?? (isOurs ? messageOf(error) : nameOf(error));
  return word.replace(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_CAUSE);
}

function nameOf(error: unknown): string {
  if (error instanceof z.ZodError) return 'ZodError';
  return error instanceof Error ? error.name : 'unknown';
}
