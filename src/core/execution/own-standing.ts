import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { StandingLink } from './links.ts';

const LOOK_EVERY_MS = 1_000;

interface StandingParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly pool: string;
  readonly worker: string;
  readonly logger: Logger;
}

/** Whether this worker may work in its pool, as the attestors say. */
export class OwnStanding implements StandingLink {
  readonly #parts: StandingParts;
  readonly #looks: PeriodicTask;
  #bar: string | undefined;
  #onChange: () => void = () => undefined;

  constructor(parts: StandingParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error) =>
      parts.logger.warn(`this worker's standing cannot be read: ${messageOf(error).slice(0, 200)}`),
    );
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS);
  }

  /** Why this worker may not work now, or undefined where it may. */
  get bar(): string | undefined {
    return this.#bar;
  }

  /** Looks every second, and calls back whenever it has changed. */
  watch(onChange: () => void): void {
    this.#onChange = onChange;
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { redis, keys, pool, worker, logger } = this.#parts;
    const [written, isQuarantined] = await Promise.all([
      redis.hget(keys.barred(pool), worker),
      redis.sismember(keys.quarantined, worker),
    ]);
    const bar = written ?? (isQuarantined === 1 ? 'WORKER_QUARANTINED' : undefined);
    if (bar === this.#bar) return LOOK_EVERY_MS;
    this.#bar = bar;
    if (bar === undefined) logger.info({ worker }, 'this worker may work again; it takes jobs');
    else
      logger.warn({ worker, why: bar }, 'this worker may not work now; it gives back what it holds and takes no job');
    this.#onChange();
    return LOOK_EVERY_MS;
  }
}
