import type { Redis } from 'ioredis';
import { FLAG_WEIGHT, PASS_WEIGHT, QUARANTINE_AT } from '../attestation/suspicion.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { loadScript } from '../../ground/redis/script.ts';

const SUSPECT = loadScript(new URL('./lua/suspect.lua', import.meta.url));

export interface Finding {
  readonly job: string;
  readonly epoch: number;
  readonly worker: string;
  readonly model: string;
  /** A slow method refuted what the worker signed. */
  readonly isFlagged: boolean;
}

/** The scores of workers, shared by all attestors. A finding may be recorded twice; it counts once. */
export class Suspicions {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #logger: Logger;

  constructor(redis: Redis, keys: RedisKeys, logger: Logger) {
    this.#redis = redis;
    this.#keys = keys;
    this.#logger = logger;
  }

  async record({ job, epoch, worker, model, isFlagged }: Finding): Promise<void> {
    const keys = this.#keys;
    const reply = await SUSPECT.run(
      this.#redis,
      [keys.ruling(job), keys.suspicion, keys.quarantined],
      [epoch, worker, model, isFlagged ? FLAG_WEIGHT : PASS_WEIGHT, QUARANTINE_AT],
    );
    const [score, isNew]: unknown[] = Array.isArray(reply) ? (reply as unknown[]) : [];
    if (isFlagged) this.#logger.warn({ worker, model, job, score: Number(score) }, 'a worker was flagged');
    if (isNew === 1) this.#logger.error({ worker, model, score: Number(score) }, 'a worker was put into quarantine');
  }
}
