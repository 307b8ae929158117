import type { Redis } from 'ioredis';

const LOOK_EVERY_MS = 1_000;
/** An answer that is older is not relied on: whoever asks waits for the next one. */
const MAX_AGE_MS = 5_000;

/** What is asked of Redis. */
type Timed = Pick<Redis, 'time'>;

/**
 * The time by the clock of Redis, which is one for all processes: what is dated by it agrees with the
 * deadlines that are compared with it, whatever the clock of this machine says. Redis is asked at most once a
 * second; in between, the time goes on as this process lives. It is never behind Redis, and ahead of it by no
 * more than an answer took: what was dated there before is not dated later than what is dated now.
 */
export class RedisClock {
  readonly #redis: Timed;
  #asking: Promise<void> | undefined;
  #heard: { readonly redisMs: number; readonly atMs: number } | undefined;

  constructor(redis: Timed) {
    this.#redis = redis;
  }

  /** Milliseconds since 1970. Throws what Redis throws where it has not answered for seconds. */
  async nowMs(): Promise<number> {
    const ageMs = this.#heard === undefined ? Infinity : performance.now() - this.#heard.atMs;
    if (ageMs > LOOK_EVERY_MS) {
      this.#asking ??= this.#ask().finally(() => {
        this.#asking = undefined;
      });
      if (ageMs > MAX_AGE_MS) await this.#asking;
      else this.#asking.catch(() => undefined);
    }
    if (this.#heard === undefined) throw new Error('Redis has not told the time.');
    return Math.ceil(this.#heard.redisMs + performance.now() - this.#heard.atMs);
  }

  async #ask(): Promise<void> {
    // Redis looks at its clock after this.
    const atMs = performance.now();
    const [seconds, micros] = await this.#redis.time();
    this.#heard = { redisMs: Number(seconds) * 1_000 + Number(micros) / 1_000, atMs };
  }
}
