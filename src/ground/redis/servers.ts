import { Redis } from 'ioredis';
import { parseRedisAddress, serverUrl, type Endpoint } from '../config/redis-address.ts';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { Logger } from '../logging/logger.ts';
import { openRedis, whenReady, type RedisAccess } from './connection.ts';
import { cells, integer, text } from './reply.ts';

/** A server answers within this time, or it is away. */
const READY_MS = 5_000;

/**
 * Calls `use` with a connection to every server that stands behind an address, replicas included: users are
 * not replicated, so what is to outlive a failover is said to each. A replica's connection only administers.
 *
 * Throws CodedError `storage_unavailable`, which names the servers that did not answer, once all others were
 * called; calling again does no harm where `use` does none.
 */
export async function eachServer(
  access: RedisAccess,
  logger: Logger,
  use: (redis: Redis) => Promise<void>,
): Promise<void> {
  const failed: string[] = [];
  let last: unknown;
  for (const server of await serversOf(access, logger))
    await oneServer(server, logger, use).catch((error: unknown) => {
      if (error instanceof CodedError) throw error;
      failed.push(`${server.url} (${messageOf(error)})`);
      last = error;
    });
  if (failed.length > 0)
    throw new CodedError('storage_unavailable', `These servers could not be told: ${failed.join(', ')}.`, {
      cause: last,
      hint: 'the others were; give the same command again when these are back, or take them out of the set',
    });
}

async function oneServer(access: RedisAccess, logger: Logger, use: (redis: Redis) => Promise<void>): Promise<void> {
  const redis = openRedis(access, 'prompt', logger);
  try {
    await whenReady(redis, READY_MS);
    await use(redis);
  } finally {
    redis.disconnect();
  }
}

/** Every server behind an address, each as the access to it alone. */
async function serversOf(access: RedisAccess, logger: Logger): Promise<RedisAccess[]> {
  const address = parseRedisAddress(access.url);
  if (address.kind === 'socket' || address.kind === 'server') return [access];
  const servers =
    address.kind === 'sentinel'
      ? await ofSentinels(address.sentinels, address.name, access, address.tls)
      : await ofCluster(access, logger);
  const { user = address.user, password = address.password } = access;
  return servers.map((server) => ({ url: serverUrl(server, address.tls), user, password }));
}

/** The master and its replicas, as the first sentinel knows them that answers. */
async function ofSentinels(
  sentinels: readonly Endpoint[],
  name: string,
  { sentinelUser, sentinelPassword }: RedisAccess,
  tls: boolean,
): Promise<Endpoint[]> {
  let last: unknown;
  for (const sentinel of sentinels) {
    const redis = new Redis({
      ...sentinel,
      ...(tls ? { tls: {} } : {}),
      ...(sentinelUser === undefined ? {} : { username: sentinelUser }),
      ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
      disableClientInfo: true,
      enableReadyCheck: false,
      commandTimeout: READY_MS,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    });
    redis.on('error', (error) => {
      last = error;
    });
    try {
      const [host, port] = cells(await redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name));
      const replicas = cells(await redis.call('SENTINEL', 'REPLICAS', name)).map((row) => {
        const facts = cells(row);
        const fact = (of: string) => text(facts[facts.indexOf(of) + 1]);
        return { host: fact('ip'), port: Number(fact('port')) };
      });
      return [{ host: text(host), port: Number(text(port)) }, ...replicas];
    } catch (error) {
      last ??= error;
    } finally {
      redis.disconnect();
    }
  }
  throw new CodedError('storage_unavailable', `No sentinel says who the master ${name} is: ${messageOf(last)}.`, {
    cause: last,
  });
}

/** All nodes that the Cluster counts among its own, whatever they hold. */
async function ofCluster(access: RedisAccess, logger: Logger): Promise<Endpoint[]> {
  let nodes: Endpoint[] = [];
  await oneServer(access, logger, async (redis) => {
    nodes = String(await redis.call('CLUSTER', 'NODES'))
      .split('\n')
      .flatMap((line) => {
        const [, address = '', flags = ''] = line.split(' ');
        const [, host, port] = /^(.*):(\d+)@/.exec(address) ?? [];
        if (host === undefined || /noaddr|handshake/.test(flags)) return [];
        return [{ host: host === '' ? (redis.options.host ?? '') : host, port: integer(Number(port)) }];
      });
  });
  return nodes;
}
