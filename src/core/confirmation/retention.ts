import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const FORGET = loadScript(new URL('./lua/forget.lua', import.meta.url), integer);

const LOOK_EVERY_MS = 5_000;
const BATCH = 500;

interface RetentionParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  /** How long a job is kept after its end. */
  readonly keepMs: number;
  /** Most ended jobs of a tenant. */
  readonly keepJobs: number;
  readonly logger: Logger;
}

/**
 * Forgets jobs in Redis that ended too long ago, by Redis' clock, and the oldest of a tenant that has too
 * many: what one tenant does makes no other's job forgotten. Any number of attestors may do this at once.
 */
export class Retention {
  readonly #parts: RetentionParts;
  readonly #looks: PeriodicTask;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error) => parts.logger.warn(`retention: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** Forgets a batch. Returns when to look again (ms). */
  async #look(): Promise<number> {
    const { redis, keys, keepMs, keepJobs } = this.#parts;
    const forgotten = await FORGET.run(redis, [keys.ended, keys.overfull], [keys.prefix, keepMs, keepJobs, BATCH]);
    return forgotten > 0 ? 0 : LOOK_EVERY_MS;
  }
}
