import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { hset, type Change } from '../../core/audit/audit-log.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';

/**
 * What becomes of open work when a key is revoked or a tenant is disabled.
 *
 * - `keep`: all that was accepted goes on, and batches go on submitting their lines.
 * - `drain`: jobs that were accepted go on; batches are cancelled, and submit no further line.
 * - `stop`: batches and jobs are cancelled.
 */
export const OPEN_WORK = ['keep', 'drain', 'stop'] as const;
export type OpenWork = (typeof OPEN_WORK)[number];

const Wish = z.object({ work: z.enum(['drain', 'stop']), sinceMs: z.number() });

/** Open work that is to be drained or stopped: of a tenant, or of one of its keys. */
export interface WorkStop {
  readonly tenant: string;
  readonly keyId: string | undefined;
  readonly work: 'drain' | 'stop';
  readonly sinceMs: number;
}

/**
 * Wishes to drain or stop open work. They are written together with the change that they follow from, and
 * stand until a courier has carried them out.
 */
@Injectable()
export class WorkStops {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /** The change that writes the wish; `keep` takes back one that is not carried out yet. */
  wish(work: OpenWork, { tenant, keyId }: { tenant: string; keyId?: string }): Change {
    const field = keyId === undefined ? tenant : `${tenant} ${keyId}`;
    return work === 'keep'
      ? ['HDEL', this.#keys.workStops, field]
      : hset(this.#keys.workStops, { [field]: JSON.stringify({ work, sinceMs: Date.now() }) });
  }

  /** All wishes that stand. What cannot be read is left out. */
  async list(): Promise<WorkStop[]> {
    return Object.entries(await this.#redis.hgetall(this.#keys.workStops)).flatMap(([field, text]) => {
      const [tenant = '', keyId] = field.split(' ');
      const wish = Wish.safeParse(JSON.parse(text));
      return wish.success ? [{ tenant, keyId, ...wish.data }] : [];
    });
  }

  /** Takes a wish away that was carried out; one that was made anew meanwhile stays. */
  async carriedOut({ tenant, keyId, work, sinceMs }: WorkStop): Promise<void> {
    const field = keyId === undefined ? tenant : `${tenant} ${keyId}`;
    const standing = await this.#redis.hget(this.#keys.workStops, field);
    if (standing === JSON.stringify({ work, sinceMs })) await this.#redis.hdel(this.#keys.workStops, field);
  }
}
