import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { aclRules, redisUsers, userName } from '../../ground/redis/acl.ts';
import type { RedisAccess } from '../../ground/redis/connection.ts';
import { durabilityLevel } from '../../ground/redis/durability.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { findRedisServer, startPrivateRedis } from '../../ground/redis/redis-server.ts';
import { requireFitRedis } from '../../ground/redis/requirements.ts';
import { eachServer } from '../../ground/redis/servers.ts';
import type { Output } from './output.ts';
import { ADMIN, type DataFolder } from './data-folder.ts';
import { aclLines, openPools } from './set-up.ts';

/**
 * A Redis with a user for each role, and for the workers of each pool: the one of COUNTERSIGN_REDIS_URL, or a
 * private server, whose end is added to `stops`. Returns the access of a user that may administer it. Throws
 * CodedErrors `redis_unfit`, `redis_missing`.
 */
export async function installationRedis(data: DataFolder, out: Output, stops: (() => unknown)[]): Promise<RedisAccess> {
  const given = process.env['COUNTERSIGN_REDIS_URL'];
  return given === undefined || given === ''
    ? privateRedis(data, out, stops)
    : givenRedis(data, out, { url: given, shard: data.shard, ...data.sentinelLogin() });
}

async function privateRedis(data: DataFolder, out: Output, stops: (() => unknown)[]): Promise<RedisAccess> {
  const program = await findRedisServer(data.redisProgram(), (line) => out.say(line));
  const admin = { user: ADMIN, password: data.passwordOf(ADMIN) };
  const redis = await startPrivateRedis({ program, folder: data.at('redis'), users: aclLines(data), admin });
  stops.push(() => redis.stop());
  out.say(`redis      private, ${redis.url} (${program.path})`);
  return { url: redis.url, shard: data.shard, ...admin };
}

async function givenRedis(data: DataFolder, out: Output, access: RedisAccess): Promise<RedisAccess> {
  const pools = openPools(data);
  const { prefix } = new RedisKeys(data.shard);
  const durability = durabilityLevel(process.env['COUNTERSIGN_DURABILITY'] ?? 'always');
  try {
    await eachServer(access, createLogger('up', 'error'), async (redis) => {
      for (const user of redisUsers(pools)) {
        const name = userName(user);
        await redis.acl('SETUSER', name, ...aclRules(user, prefix), `>${data.passwordOf(name)}`);
      }
      await requireFitRedis(redis, { durability });
    });
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError('redis_unfit', `The Redis of COUNTERSIGN_REDIS_URL cannot be used: ${messageOf(cause)}.`, {
      cause,
      hint: 'the user of the address must be allowed to make users (ACL SETUSER); countersign acl prints them for an administrator',
    });
  }
  out.say('redis      the one of COUNTERSIGN_REDIS_URL, with a user for each role and pool');
  return access;
}
