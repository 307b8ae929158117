import type { Redis } from 'ioredis';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { rateLimited, type Logger } from '../../ground/logging/logger.ts';
import { PeriodicTask } from '../../ground/process/periodic-task.ts';
import { queueName, type RedisKeys } from '../../ground/redis/keys.ts';
import { Announcements } from '../catalog/announcement.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { residenceOf } from '../catalog/residence.ts';
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
 * How many jobs the workers that are there can run at once, what a job takes, and what a load takes where
 * none has the model in memory, by queue, for whoever releases and predicts. Only enrolled workers count, and
 * only for their pools; any attestor may write it.
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
        const said = present.flatMap(({ models }) =>
          models.filter((served) => served.name === name && served.sha256 === sha256).slice(0, 1),
        );
        const { slots, coldMs } = residenceOf(said, 0);
        const queue = queueName(pool, name);
        const took = serviceTimes.of(queue);
        writes.hset(keys.pace(queue), {
          slots: Math.min(slots, MOST_SLOTS),
          cold: coldMs,
          ...(took === undefined ? {} : { took: took.toFixed(1) }),
        });
      }
      await writes.exec();
    }
    return LOOK_EVERY_MS;
  }
}
