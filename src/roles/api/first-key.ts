import { Redis } from 'ioredis';
import type { Logger } from '../../ground/logging/logger.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readBootstrap, takeBootstrap, type BootstrapFile } from '../../surfaces/tenants/bootstrap.ts';

/** The tenant and the API key with which a new installation begins, where the configuration names any. */
export class FirstKey {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #file: BootstrapFile | undefined;
  readonly #logger: Logger;

  /** Throws CodedError `config_invalid` where the file cannot be used. */
  constructor(redis: Redis, keys: RedisKeys, path: string | undefined, logger: Logger) {
    this.#redis = redis;
    this.#keys = keys;
    this.#file = path === undefined ? undefined : readBootstrap(path);
    this.#logger = logger;
  }

  /** Takes them in, unless that was done before. Throws what Redis answers: a start without a key is none. */
  async take(): Promise<void> {
    if (this.#file === undefined) return;
    const { tenant, key } = this.#file;
    switch (await takeBootstrap(this.#redis, this.#keys, this.#file)) {
      case 'taken':
        this.#logger.info({ tenant, key: key.id }, 'the first tenant and its API key were taken in');
        return;
      case 'expired':
        this.#logger.warn({ tenant, key: key.id }, 'the bootstrap file has expired and was not read');
        return;
      case 'before':
        this.#logger.debug({ tenant, key: key.id }, 'the bootstrap file was taken in before');
        return;
    }
  }
}
