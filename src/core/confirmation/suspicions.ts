import type { Redis } from 'ioredis';
import { FLAG_WEIGHT, PASS_WEIGHT, QUARANTINE_AT } from '../attestation/suspicion.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { Logger } from '../../ground/logging/logger.ts';
import { cells, integer, text } from '../../ground/redis/reply.ts';
import { loadScript } from '../../ground/redis/script.ts';

const SUSPECT = loadScript(new URL('./lua/suspect.lua', import.meta.url), parseScore);

/** A finding that comes again, by another attestor or after a crash, comes within this time. */
const COUNTED_MS = 3_600_000;

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
    const { score, isNew } = await SUSPECT.run(
      this.#redis,
      [keys.audited(job, epoch), keys.suspicion, keys.quarantined],
      [COUNTED_MS, worker, model, isFlagged ? FLAG_WEIGHT : PASS_WEIGHT, QUARANTINE_AT],
    );
    if (isFlagged) this.#logger.warn({ worker, model, job, score }, 'a worker was flagged');
    if (isNew) this.#logger.error({ worker, model, score }, 'a worker was put into quarantine');
  }
}

/** The worker's score, and whether this finding put the worker into quarantine. */
function parseScore(reply: unknown): { score: number; isNew: boolean } {
  const [score, added] = cells(reply);
  return { score: Number(text(score)), isNew: integer(added) === 1 };
}
