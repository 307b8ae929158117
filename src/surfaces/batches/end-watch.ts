import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import type { Clock } from '../../ground/clock/clock.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';

const LOOK_EVERY_MS = 50;
const ENDS_PER_READ = 1_000;
/** So many jobs are asked for by themselves in each look, in turn: what the order of ends does not show. */
const ASKED_PER_LOOK = 20;
const NO_REPLY: [Error | null, unknown] = [new Error('There is no reply.'), undefined];

/** What has become of a job that is watched: it has its record, or nothing is known of it in Redis. */
export type Fate = 'ended' | 'gone';

/**
 * Tells when jobs have ended. It follows the order of ends by one number, so waiting for a hundred thousand
 * jobs costs what waiting for one costs.
 */
export class EndWatch {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #looks: PeriodicTask;
  /** What to call at the end of each job, in the order in which they are asked for by themselves. */
  readonly #watched = new Map<string, (fate: Fate) => void>();
  /** Jobs that may have ended before they were watched. */
  #fresh: string[] = [];
  #cursor: string | undefined;

  constructor(redis: Redis, keys: RedisKeys, clock: Clock, logger: Logger) {
    this.#redis = redis;
    this.#keys = keys;
    const say = (error: unknown) => logger.warn(`ends of jobs: ${messageOf(error).slice(0, 300)}`);
    const warn = rateLimited(5_000, say, clock);
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS * 10, clock);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /**
   * Calls `over` once the job has its record, or Redis no longer has it: it was forgotten, or Redis came back
   * without its last moments. Not after the result is disposed of. One caller for each job.
   */
  watch(id: string, over: (fate: Fate) => void): Disposable {
    this.#watched.set(id, over);
    this.#fresh.push(id);
    return { [Symbol.dispose]: () => this.#watched.delete(id) };
  }

  async #look(): Promise<number> {
    if (this.#watched.size === 0) {
      this.#cursor = undefined;
      this.#fresh = [];
      return LOOK_EVERY_MS;
    }
    if (this.#cursor === undefined) {
      const [, newest] = await this.#redis.zrevrange(this.#keys.ended, 0, 0, 'WITHSCORES');
      this.#cursor = newest ?? '0';
    }
    await this.#askFor([...this.#fresh.splice(0), ...this.#inTurn()]);
    await this.#follow();
    return LOOK_EVERY_MS;
  }

  /** The next few of all that are watched; they go to the end of the turn. */
  #inTurn(): string[] {
    const next: string[] = [];
    for (const id of this.#watched.keys()) {
      if (next.length >= ASKED_PER_LOOK) break;
      next.push(id);
    }
    for (const id of next) {
      const over = this.#watched.get(id);
      this.#watched.delete(id);
      if (over !== undefined) this.#watched.set(id, over);
    }
    return next;
  }

  async #askFor(ids: readonly string[]): Promise<void> {
    const asked = this.#redis.pipeline();
    // A job has its record before its ticket goes: in this order one of them is seen.
    for (const id of ids) asked.exists(this.#keys.ticket(id)).exists(this.#keys.record(id));
    const replies = (await asked.exec()) ?? [];
    for (const [at, id] of ids.entries()) {
      const [[lost, isOpen], [alsoLost, isEnded]] = [replies[2 * at] ?? NO_REPLY, replies[2 * at + 1] ?? NO_REPLY];
      // It is asked for again.
      if (lost !== null || alsoLost !== null) this.#fresh.push(id);
      else if (isEnded === 1) this.#tell(id, 'ended');
      else if (isOpen === 0) this.#tell(id, 'gone');
    }
  }

  async #follow(): Promise<void> {
    for (;;) {
      const found = await this.#redis.zrangebyscore(
        this.#keys.ended,
        `(${this.#cursor ?? '0'}`,
        '+inf',
        'WITHSCORES',
        'LIMIT',
        0,
        ENDS_PER_READ,
      );
      for (let at = 0; at + 1 < found.length; at += 2) this.#tell(found[at] ?? '', 'ended');
      this.#cursor = found.at(-1) ?? this.#cursor;
      if (found.length < 2 * ENDS_PER_READ) return;
    }
  }

  #tell(id: string, fate: Fate): void {
    const over = this.#watched.get(id);
    if (over === undefined) return;
    this.#watched.delete(id);
    over(fate);
  }
}
