import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { cells, integer } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const FORGET = loadScript(new URL('./lua/forget.lua', import.meta.url), parseKept);

const LOOK_EVERY_MS = 5_000;
const BATCH = 500;
/** What an attestor was told to keep counts for so long after it said so: three looks. */
const SAID_MS = 15_000;
const WARN_EVERY_MS = 600_000;

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
 * many: what one tenant does makes no other's job forgotten. Any number of attestors may do this at once;
 * where they were told to keep different things, the most counts for all of them.
 */
export class Retention {
  readonly #parts: RetentionParts;
  readonly #looks: PeriodicTask;
  readonly #warnOfOthers: (kept: Kept) => void;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    const warn = rateLimited(5_000, (error) => parts.logger.warn(`retention: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.look(), warn, LOOK_EVERY_MS);
    this.#warnOfOthers = rateLimited(WARN_EVERY_MS, ({ keepMs, keepJobs }) =>
      parts.logger.warn(
        { keepMs, keepJobs },
        'another attestor was told to keep finished jobs for longer, or more of them; the most that any was told counts',
      ),
    );
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  /** What is kept: the most that any attestor was told which was heard of in the last fifteen seconds. */
  async agreed(): Promise<Kept> {
    const { keepMs, keepJobs } = await this.#forget(0);
    return { keepMs, keepJobs };
  }

  /** Forgets a batch. Returns when to look again (ms). */
  async look(): Promise<number> {
    const { forgotten, ...kept } = await this.#forget(BATCH);
    const { keepMs, keepJobs } = this.#parts;
    if (kept.keepMs !== keepMs || kept.keepJobs !== keepJobs) this.#warnOfOthers(kept);
    return forgotten > 0 ? 0 : LOOK_EVERY_MS;
  }

  #forget(most: number): Promise<Kept & { readonly forgotten: number }> {
    const { redis, keys, keepMs, keepJobs } = this.#parts;
    return FORGET.run(redis, [keys.ended, keys.overfull], [keys.prefix, keepMs, keepJobs, most, SAID_MS]);
  }
}

/** How long (ms) a job is kept after its end, and how many ended jobs of a tenant. */
interface Kept {
  readonly keepMs: number;
  readonly keepJobs: number;
}

function parseKept(reply: unknown): Kept & { readonly forgotten: number } {
  const [forgotten, keepMs, keepJobs] = cells(reply).map(integer);
  return { forgotten: forgotten ?? 0, keepMs: keepMs ?? 0, keepJobs: keepJobs ?? 0 };
}
