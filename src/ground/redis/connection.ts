import { Redis } from 'ioredis';
import { z } from 'zod';
import type { Logger } from '../logging/logger.ts';
import { rateLimited } from '../logging/logger.ts';
import { readSecretFile } from '../keys/key-file.ts';
import { messageOf } from '../errors/coded-error.ts';
import { parseRedisAddress, type RedisAddress } from '../config/redis-address.ts';
import { clusterConnector } from './cluster-connector.ts';

/** Where Redis is and who connects. It has no secrets of a form that a thread could not be given. */
export const RedisAccess = z.object({
  url: z.string(),
  user: z.string().optional(),
  password: z.string().optional(),
  /** The shard whose node is wanted of a Cluster. */
  shard: z.string().optional(),
  /** The login at the sentinels, where they ask for one. */
  sentinelUser: z.string().optional(),
  sentinelPassword: z.string().optional(),
});
export type RedisAccess = z.infer<typeof RedisAccess>;

/** What a role's configuration says about its Redis. */
export interface RedisConfig {
  readonly COUNTERSIGN_REDIS_URL: string;
  readonly COUNTERSIGN_REDIS_USER?: string | undefined;
  readonly COUNTERSIGN_REDIS_PASSWORD_FILE?: string | undefined;
  readonly COUNTERSIGN_SENTINEL_USER?: string | undefined;
  readonly COUNTERSIGN_SENTINEL_PASSWORD_FILE?: string | undefined;
  readonly COUNTERSIGN_SHARD: string;
}

/** The access of a role from its configuration; the role's name is the user unless another is configured. */
export function redisAccess(config: RedisConfig, role: string): RedisAccess {
  const { COUNTERSIGN_REDIS_PASSWORD_FILE: file, COUNTERSIGN_SENTINEL_PASSWORD_FILE: sentinelFile } = config;
  return {
    url: config.COUNTERSIGN_REDIS_URL,
    ...(file === undefined ? {} : { user: config.COUNTERSIGN_REDIS_USER ?? role, password: secretOf(file) }),
    shard: config.COUNTERSIGN_SHARD,
    sentinelUser: config.COUNTERSIGN_SENTINEL_USER,
    sentinelPassword: sentinelFile === undefined ? undefined : secretOf(sentinelFile),
  };
}

function secretOf(file: string): string {
  return readSecretFile(file).reveal().trim();
}

/**
 * How a connection behaves while Redis is unreachable.
 * - `prompt`: commands fail within seconds, so that the caller gets an error on which it can act.
 * - `patient`: commands wait and are sent again without a limit; each must be safe to send twice.
 */
export type Patience = 'prompt' | 'patient';

/** The longest that a command of a `prompt` connection waits for its answer. */
export const COMMAND_TIMEOUT_MS = 2_000;
/**
 * A server that says nothing for so long although it was asked is given up and looked for again, as it may
 * have lost its power. Redis blocks nobody for longer than BullMQ's 10 s on our behalf.
 */
const SILENCE_MS = { prompt: 5_000, patient: 20_000 };
/** So often a connection is heard of that waits for messages only. */
const PING_EVERY_MS = 5_000;

/**
 * What a server answers that is not, or no longer, the one that writes. None of it was carried out, so each
 * may be sent again, whatever it was.
 */
const DEPOSED = /^(READONLY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|LOADING|UNBLOCKED)\b/;

/** Whether Redis refused a command because of what the server is now, and did nothing of it. */
export function isDeposed(error: unknown): boolean {
  return DEPOSED.test(messageOf(error));
}

/** The options of ioredis for this access. */
export function redisOptions(access: RedisAccess, patience: Patience) {
  const address = parseRedisAddress(access.url);
  const login = loginOf(address, access);
  return {
    ...whereabouts(address, access, login),
    ...login,
    // Redis 7.0 does not know CLIENT SETINFO.
    disableClientInfo: true,
    enableReadyCheck: true,
    connectTimeout: 5_000,
    keepAlive: 10_000,
    socketTimeout: SILENCE_MS[patience],
    // The master is looked for anew. The command fails: ioredis would send one of a transaction by itself.
    reconnectOnError: isDeposed,
    // Capped low, so that consumers are back within seconds of an outage, and jittered against a stampede.
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 1_500) * (0.75 + Math.random() / 2),
    ...(patience === 'prompt'
      ? { maxRetriesPerRequest: 1, enableOfflineQueue: false, commandTimeout: COMMAND_TIMEOUT_MS }
      : { maxRetriesPerRequest: null }),
  };
}

interface Login {
  readonly username?: string;
  readonly password?: string;
}

function loginOf(address: RedisAddress, access: RedisAccess): Login {
  const own = address.kind === 'socket' ? { user: undefined, password: undefined } : address;
  const [username, password] = [access.user ?? own.user, access.password ?? own.password];
  return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
}

function whereabouts(address: RedisAddress, access: RedisAccess, login: Login) {
  switch (address.kind) {
    case 'socket':
      return { path: address.path };
    case 'server':
      return { ...address.server, db: address.db, ...(address.tls ? { tls: {} } : {}) };
    case 'sentinel':
      return {
        sentinels: [...address.sentinels],
        name: address.name,
        db: address.db,
        ...(address.tls ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
        ...(access.sentinelUser === undefined ? {} : { sentinelUsername: access.sentinelUser }),
        ...(access.sentinelPassword === undefined ? {} : { sentinelPassword: access.sentinelPassword }),
        sentinelCommandTimeout: 2_000,
        sentinelRetryStrategy: () => 250,
      };
    case 'cluster': {
      if (access.shard === undefined) throw new Error('A Redis Cluster is asked for the node of a shard.');
      const { nodes, tls } = address;
      const Connector = clusterConnector({ nodes, tls, shard: access.shard, login });
      return { Connector, ...(tls ? { tls: {} } : {}) };
    }
  }
}

/** Opens a connection; its errors are logged at most once in 5 s, because an outage reports thousands. */
export function openRedis(access: RedisAccess, patience: Patience, logger: Logger): Redis {
  const redis = new Redis(redisOptions(access, patience));
  const warn = rateLimited(5_000, (error, suppressed) => {
    logger.warn({ suppressed }, `redis: ${messageOf(error).slice(0, 300)}`);
  });
  let isAway = false;
  redis.on('error', (error) => {
    isAway = true;
    warn(error);
  });
  redis.on('ready', () => {
    if (isAway) logger.info('redis: it answers again');
    isAway = false;
  });
  if (patience === 'patient') watch(redis);
  return redis;
}

/** A subscriber asks for nothing and would wait for a dead server for ever: it asks whether that lives. */
function watch(redis: Redis): void {
  const timer = setInterval(() => {
    if (redis.status === 'ready') redis.ping().catch(() => undefined);
  }, PING_EVERY_MS);
  redis.once('end', () => clearInterval(timer));
}

/** Whether commands of this connection wait for Redis instead of failing. */
export function isPatient({ options, status }: Redis): boolean {
  return options.maxRetriesPerRequest === null && status !== 'end';
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
