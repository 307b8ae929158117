import type { Redis } from 'ioredis';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import type { RedisKeys } from '../../ground/redis/keys.ts';
import type { AuditLog } from './audit-log.ts';

/** A file of the operator that decides for others, such as the table of prices. */
export interface FileInForce {
  readonly name: 'prices' | 'catalog';
  readonly bytes: Uint8Array;
}

/**
 * Notes in the audit log when a role starts with another table of prices or another catalog than the last one
 * did. Two that start at once may both note it.
 */
export class FilesInForce {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #audit: AuditLog;
  readonly #files: readonly FileInForce[];

  constructor(redis: Redis, keys: RedisKeys, audit: AuditLog, files: readonly FileInForce[]) {
    this.#redis = redis;
    this.#keys = keys;
    this.#audit = audit;
    this.#files = files;
  }

  /** Throws what Redis answers. */
  async note(): Promise<void> {
    for (const { name, bytes } of this.#files) {
      const sha256 = sha256Hex(bytes);
      const noted = this.#keys.noted(name);
      if ((await this.#redis.get(noted)) === sha256) continue;
      await this.#audit.with({ by: 'api', action: `${name}.inForce`, target: sha256, tenant: null, detail: {} }, [
        ['SET', noted, sha256],
      ]);
    }
  }
}
