import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import { isJobId } from '../jobs/job-id.ts';
import { PushedStop } from '../remote/wire.ts';

type Hear = (stop: PushedStop) => void;

interface FeedParts {
  readonly redis: Redis;
  /** A connection that only listens. */
  readonly listening: Redis;
  readonly keys: RedisKeys;
  readonly pool: string;
  readonly logger: Logger;
}

/**
 * What is to stop at the workers of a pool, handed to those who listen here and hold the job. What is missed
 * is said by the next renewal.
 */
export class StopFeed {
  readonly #parts: FeedParts;
  readonly #listeners = new Map<string, Set<Hear>>();

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  start(): void {
    const { listening, keys, pool, logger } = this.#parts;
    listening.on('message', (_channel: string, text: string) => void this.#hear(text));
    listening.subscribe(keys.stopsChannel(pool)).catch((error: unknown) => {
      logger.warn(`stops are not heard: ${messageOf(error).slice(0, 200)}`);
    });
  }

  /** Calls `hear` with each stop of a job of this worker, until it is disposed of. */
  listen(worker: string, hear: Hear): Disposable {
    const own = this.#listeners.get(worker) ?? new Set();
    this.#listeners.set(worker, own.add(hear));
    return {
      [Symbol.dispose]: () => {
        own.delete(hear);
        if (own.size === 0) this.#listeners.delete(worker);
      },
    };
  }

  async #hear(text: string): Promise<void> {
    if (this.#listeners.size === 0) return;
    for (const word of text.split(' ')) {
      const [job = '', epochText] = word.split(':');
      if (!isJobId(job)) continue;
      const epoch = epochText === undefined ? null : Number(epochText);
      const worker = await this.#workerOf(job, epoch).catch(() => undefined);
      const stop = PushedStop.safeParse({ job, epoch, why: epoch === null ? 'cancelled' : 'lost' });
      if (worker !== undefined && stop.success) for (const hear of this.#listeners.get(worker) ?? []) hear(stop.data);
    }
  }

  /** Who holds a job: a claim that was taken back has no lease any more. */
  async #workerOf(job: string, epoch: number | null): Promise<string | undefined> {
    const { redis, keys } = this.#parts;
    if (epoch === null) return (await redis.get(keys.lease(job)))?.split(' ')[1];
    return (await redis.hget(keys.claims(job), `e${epoch}`))?.split(' ')[0];
  }
}
