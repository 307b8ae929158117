import { Redis } from 'ioredis';
import type { Logger } from '../logging/logger.ts';
import { rateLimited } from '../logging/logger.ts';
import { readSecretFile } from '../keys/key-file.ts';
import { messageOf } from '../errors/coded-error.ts';

export interface RedisAccess {
  readonly url: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
}

/** What a role's configuration says about its Redis. */
export interface RedisConfig {
  readonly COUNTERSIGN_REDIS_URL: string;
  readonly COUNTERSIGN_REDIS_USER?: string | undefined;
  readonly COUNTERSIGN_REDIS_PASSWORD_FILE?: string | undefined;
}

/** The access of a role from its configuration; the role's name is the user unless another is configured. */
export function redisAccess(config: RedisConfig, role: string): RedisAccess {
  const file = config.COUNTERSIGN_REDIS_PASSWORD_FILE;
  if (file === undefined) return { url: config.COUNTERSIGN_REDIS_URL };
  return {
    url: config.COUNTERSIGN_REDIS_URL,
    user: config.COUNTERSIGN_REDIS_USER ?? role,
    password: readSecretFile(file).reveal().trim(),
  };
}

/**
 * How a connection behaves while Redis is unreachable.
 * - `prompt`: commands fail within seconds, so that the caller gets an error on which it can act.
 * - `patient`: commands wait and are sent again without a limit; each must be safe to send twice.
 */
export type Patience = 'prompt' | 'patient';

/** The longest that a command of a `prompt` connection waits for its answer. */
export const COMMAND_TIMEOUT_MS = 2_000;

/** The options of ioredis for this access. */
export function redisOptions(access: RedisAccess, patience: Patience) {
  const where = access.url.startsWith('unix://') ? { path: access.url.slice('unix://'.length) } : fromUrl(access.url);
  return {
    ...where,
    ...(access.user === undefined ? {} : { username: access.user }),
    ...(access.password === undefined ? {} : { password: access.password }),
    // Redis 7.0 does not know CLIENT SETINFO.
    disableClientInfo: true,
    enableReadyCheck: true,
    connectTimeout: 5_000,
    keepAlive: 10_000,
    // Capped low, so that consumers are back within seconds of an outage, and jittered against a stampede.
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 1_500) * (0.75 + Math.random() / 2),
    ...(patience === 'prompt'
      ? { maxRetriesPerRequest: 1, enableOfflineQueue: false, commandTimeout: COMMAND_TIMEOUT_MS }
      : { maxRetriesPerRequest: null }),
  };
}

function fromUrl(url: string) {
  const { hostname, port, username, password, protocol, pathname } = new URL(url);
  return {
    host: hostname,
    port: port === '' ? 6379 : Number(port),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(pathname.length > 1 ? { db: Number(pathname.slice(1)) } : {}),
    ...(protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

/** Opens a connection; its errors are logged at most once in 5 s, because an outage reports thousands. */
export function openRedis(access: RedisAccess, patience: Patience, logger: Logger): Redis {
  const redis = new Redis(redisOptions(access, patience));
  redis.on(
    'error',
    rateLimited(5_000, (error, suppressed) => {
      logger.warn({ suppressed }, `redis: ${messageOf(error).slice(0, 300)}`);
    }),
  );
  return redis;
}

/** Resolves when the connection can be used; rejects with the last error after `timeoutMs`. */
export async function whenReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve, reject) => {
    let last: unknown = new Error('no answer');
    const remember = (error: unknown) => {
      last = error;
    };
    const timer = setTimeout(() => {
      cleanUp();
      reject(last instanceof Error ? last : new Error(String(last)));
    }, timeoutMs);
    const ready = () => {
      cleanUp();
      resolve();
    };
    const cleanUp = () => {
      clearTimeout(timer);
      redis.off('error', remember);
      redis.off('ready', ready);
    };
    redis.on('error', remember);
    redis.once('ready', ready);
  });
}
