import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { openRedis, whenReady, type RedisAccess } from '../../ground/redis/connection.ts';
import { eachServer } from '../../ground/redis/servers.ts';
import { CallerContext } from './caller-context.ts';
import { DataFolder } from './data-folder.ts';

const REDIS_READY_MS = 3_000;

/** What all commands share: besides what those of callers do, connections to Redis. */
export class CliContext extends CallerContext {
  /** The folder of `--data` alone, for the command that makes it, and how that reaches a Redis elsewhere. */
  get ownFolder(): DataFolder {
    return new DataFolder(this.folder, {
      COUNTERSIGN_SHARD: process.env['COUNTERSIGN_SHARD'],
      COUNTERSIGN_SENTINEL_USER: process.env['COUNTERSIGN_SENTINEL_USER'],
      COUNTERSIGN_SENTINEL_PASSWORD_FILE: process.env['COUNTERSIGN_SENTINEL_PASSWORD_FILE'],
    });
  }

  /** The access of a Redis user of the installation. */
  access(user: string, givenUrl: string | undefined): RedisAccess {
    const { data } = this;
    return { url: data.redisUrl(givenUrl), shard: data.shard, ...data.login(user), ...data.sentinelLogin() };
  }

  /** Calls `use` with a connection to each server of the installation's Redis, as `eachServer` does. */
  withEachServer(user: string, givenUrl: string | undefined, use: (redis: Redis) => Promise<void>): Promise<void> {
    return eachServer(this.access(user, givenUrl), createLogger('cli', 'error'), use);
  }

  /**
   * Connects as a Redis user of the installation, calls `use`, and closes the connection whatever happens.
   * Returns what `use` returns. Throws CodedError `storage_unavailable` if Redis does not answer within 3 s.
   */
  async withRedis<T>(user: string, givenUrl: string | undefined, use: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = openRedis(this.access(user, givenUrl), 'prompt', createLogger('cli', 'error'));
    try {
      await whenReady(redis, REDIS_READY_MS).catch((cause: unknown) => {
        throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, {
          cause,
          hint: 'start it with countersign up, or name another with COUNTERSIGN_REDIS_URL; --verbose says what was used',
        });
      });
      return await use(redis);
    } finally {
      redis.disconnect();
    }
  }
}
