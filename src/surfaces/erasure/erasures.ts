import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import type { JobView } from '../../core/jobs/job.reader.ts';
import { Jobs } from '../../core/jobs/jobs.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { Caller } from '../tenants/api-key.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { changeableBy } from '../tenants/reach.ts';
import { redisNowMs } from './erasure-wishes.ts';

/**
 * Asks for the erasure of jobs. From then on nobody is shown what the job held; an attestor removes it, and
 * the wish stands until it has. Any number of callers at once.
 */
@Injectable()
export class Erasures {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #jobs: Jobs;
  readonly #audit: AuditLog;

  constructor(redis: Redis, keys: RedisKeys, jobs: Jobs, audit: AuditLog) {
    this.#redis = redis;
    this.#keys = keys;
    this.#jobs = jobs;
    this.#audit = audit;
  }

  /**
   * What is left of the job; the same again where it is erased already. The wish and its entry in the audit
   * log are written together. Throws CodedErrors `job_not_found`, and `job_not_ended` while it is open.
   */
  async erase(caller: Caller, id: string): Promise<JobView> {
    const { tenant, keyId } = caller;
    const view = await this.#jobs.erasable(changeableBy(caller), id);
    if (view.erased !== undefined) return view;
    // By the clock that readers compare with. An earlier time stays: of two wishes at once one counts.
    const nowMs = await redisNowMs(this.#redis);
    await this.#audit.with({ by: keyId, action: 'job.erase', target: id, tenant, detail: {} }, [
      ['ZADD', this.#keys.erasures, 'LT', nowMs, id],
      ['ZADD', this.#keys.historyErasures, 'LT', nowMs, id],
      // What the surface keeps with the job goes at once: it is the API's.
      ['HDEL', this.#keys.job(id), 'surface'],
    ]);
    return this.#jobs.get(tenant, id);
  }
}
