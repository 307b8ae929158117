import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { IDEMPOTENCY_MS } from './admission.ts';

/** A request that may come again under the same Idempotency-Key; without one it is new each time. */
export interface OnceAsked {
  readonly idempotencyKey?: string;
  /** All that was asked, and where. */
  readonly request?: string;
}

/**
 * Ids for what requests create, so that a request that comes again under its Idempotency-Key makes nothing
 * twice. The id is chosen before the thing is made: after a crash in between, the repetition makes it, under
 * the same id. A key is one for jobs and all else that a tenant creates.
 */
@Injectable()
export class CreatedOnce {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  /**
   * The id to create under: `fresh`, or the one of the first request under this key within the last day.
   * Throws CodedError `idempotency_key_reused` where that was another request.
   */
  async idFor(tenant: string, { idempotencyKey, request }: OnceAsked, fresh: string): Promise<string> {
    if (idempotencyKey === undefined) return fresh;
    const digest = sha256Hex(request ?? '');
    const key = this.#keys.idempotency(tenant, sha256Hex(idempotencyKey));
    const before = await this.#redis.set(key, `${digest} ${fresh}`, 'PX', IDEMPOTENCY_MS, 'NX', 'GET');
    if (before === null) return fresh;
    const [seen, id = ''] = before.split(' ');
    if (seen !== digest)
      throw new CodedError(
        'idempotency_key_reused',
        'This Idempotency-Key was used with another request; use a new key for a new one.',
      );
    return id;
  }
}
