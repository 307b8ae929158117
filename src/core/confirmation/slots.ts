import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { Announcements, type Announcement } from '../catalog/announcement.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { EnrolledWorkers } from './enrolled-workers.ts';
import type { ServiceTimes } from './service-times.ts';

const LOOK_EVERY_MS = 1_000;
/** More than all workers of one queue have. */
const MOST_SLOTS = 20_000;

interface SlotsParts {
  readonly redis: Redis;
  readonly keys: RedisKeys;
  readonly catalog: Catalog;
  readonly enrolled: EnrolledWorkers;
  readonly serviceTimes: ServiceTimes;
  readonly logger: Logger;
}

/**
 * How many jobs the workers that are there can run at once, and what a job takes, by queue, for whoever
 * releases. Only enrolled workers count, and only for their pools; any attestor may write it.
 */
export class Slots {
  readonly #parts: SlotsParts;
  readonly #announcements: Announcements;
  readonly #looks: PeriodicTask;

  constructor(parts: SlotsParts) {
    this.#parts = parts;
    this.#announcements = new Announcements(parts.redis, parts.keys);
    const warn = rateLimited(5_000, (error) => parts.logger.warn(`slots: ${messageOf(error).slice(0, 300)}`));
    this.#looks = new PeriodicTask(() => this.#look(), warn, LOOK_EVERY_MS);
  }

  start(): void {
    this.#looks.start();
  }

  stop(): Promise<void> {
    return this.#looks.stop();
  }

  async #look(): Promise<number> {
    const { redis, keys, catalog, enrolled, serviceTimes } = this.#parts;
    const now = Date.now();
    for (const pool of catalog.pools()) {
      const present = (await this.#announcements.present({ role: 'worker', pool })).filter(
        ({ id, state }) => state === 'consuming' && enrolled.barFrom(id, pool, now) === undefined,
      );
      const writes = redis.pipeline();
      for (const { name, sha256 } of catalog.all().filter((model) => model.pool === pool)) {
        const slots = present.reduce((sum, worker) => sum + slotsFor(worker, name, sha256), 0);
        const queue = queueName(pool, name);
        const took = serviceTimes.of(queue);
        writes.hset(keys.pace(queue), {
          slots: Math.min(slots, MOST_SLOTS),
          ...(took === undefined ? {} : { took: took.toFixed(1) }),
        });
      }
      await writes.exec();
    }
    return LOOK_EVERY_MS;
  }
}

/** How many jobs for a model a worker runs at once. */
function slotsFor(worker: Announcement, model: string, sha256: string): number {
  return worker.models.find((served) => served.name === model && served.sha256 === sha256)?.slots ?? 0;
}
