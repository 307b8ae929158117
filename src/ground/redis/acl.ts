import { CHANNEL_TABLE, KEY_TABLE, type Access, type Channel, type Family } from './key-table.ts';
import { poolTag } from './keys.ts';

/**
 * The Redis users: one for each role, and one for the workers of each pool, each with no more rights than it
 * needs.
 *
 * Redis checks these rules for every key that a script touches, also inside the script. A selector, written
 * in parentheses, grants commands on some keys only. Through selectors a worker writes each field of a claim
 * or of evidence once and appends to the attestation stream, and does nothing else there: it can neither
 * change nor delete what any worker has committed. Scripts get those keys as arguments and not as KEYS,
 * because Redis demands full read and write access for KEYS.
 */
export const REDIS_ROLES = ['api', 'worker', 'attestor'] as const;
export type RedisRole = (typeof REDIS_ROLES)[number];

/** The Redis user of a role; of a worker, the one of its pool. */
export type RedisUser = { readonly role: 'api' | 'attestor' } | { readonly role: 'worker'; readonly pool: string };

/** The name of a Redis user. */
export function userName(user: RedisUser): string {
  return user.role === 'worker' ? `worker.${user.pool}` : user.role;
}

/** The users that these pools need. */
export function redisUsers(pools: readonly string[]): RedisUser[] {
  return [{ role: 'api' }, { role: 'attestor' }, ...pools.map((pool) => ({ role: 'worker' as const, pool }))];
}

const CONNECT = '+hello +auth +info +ping +quit +select +client|setname +client|id +acl|whoami +command +cluster|slots';
const SCRIPTS = '+eval +evalsha +multi +exec +time';
const CHANNELS = '+publish +subscribe +psubscribe +unsubscribe +punsubscribe';

/** What BullMQ needs to add a job: taken from its scripts, and kept true by the end-to-end tests. */
const ADD_JOBS =
  '+del +exists +get +hget +hmget +hmset +hset +hgetall +incr +lindex +llen +lpos +lpush +lrange +persist +pttl +rpop +rpush +sadd +scard +set +xadd +xtrim +zadd +zcard +zcount +zrange +zrem +zrevrangebyscore +zscore +type';

/** What BullMQ needs besides, to take and finish jobs. */
const TAKE_JOBS =
  '+bzpopmin +hdel +hexists +hincrby +hlen +lrem +ltrim +lpop +pexpire +rename +rpoplpush +sismember +smembers +srem +unlink +xlen +zpopmin +zrangebyscore +zremrangebyrank +zremrangebyscore +zrevrange';

/** Commands on every key that a role may write, or, where they only read, on every key that it may read. */
const COMMANDS: Readonly<Record<RedisRole, string>> = {
  api: `${ADD_JOBS} +hsetnx +hstrlen +strlen +hexists +hkeys +hvals +mget +xread +xrange +xrevrange +zrank +zscan +zrangebyscore +zrevrange +xlen +pexpire +smembers +unlink +hdel +hincrby +zremrangebyrank +hlen +getrange +ltrim +wait +zlexcount +zmscore`,
  worker: `${ADD_JOBS} ${TAKE_JOBS} +xread +hsetnx`,
  attestor: `${ADD_JOBS} ${TAKE_JOBS} +zmscore +hsetnx +hstrlen +strlen +xread +xinfo|stream +mget +hkeys +hscan +scan +getrange +srandmember +wait +bgrewriteaof`,
};

/**
 * The rules of a user as arguments of ACL SETUSER, without the password. `prefix` is the prefix of the
 * shard's keys.
 */
export function aclRules(user: RedisUser, prefix: string): string[] {
  const place = (of: 'pool' | 'home') =>
    of === 'home' ? prefix : `${prefix}@${user.role === 'worker' ? poolTag(user.pool) : '????'}:`;
  const keys = new Set<string>();
  const selectors = new Map<string, Set<string>>();
  for (const family of Object.values<Family>(KEY_TABLE)) {
    const access: Access | undefined = family[user.role];
    if (access === undefined) continue;
    const pattern = place(family.place) + patternOf(family);
    if (access === 'write') keys.add(`~${pattern}`);
    else if (access === 'read' || access.reads === true) keys.add(`%R~${pattern}`);
    if (typeof access === 'string') continue;
    const patterns = selectors.get(access.only) ?? new Set();
    selectors.set(access.only, patterns.add(`~${pattern}`));
  }
  const channels = Object.values<Channel>(CHANNEL_TABLE)
    .filter(({ roles }) => roles.includes(user.role))
    .map(({ place: of, name }) => `&${place(of)}${name}`);
  return [
    'reset',
    'on',
    ...CONNECT.split(' '),
    ...SCRIPTS.split(' '),
    ...CHANNELS.split(' '),
    'resetchannels',
    ...channels,
    ...keys,
    ...COMMANDS[user.role].split(' '),
    ...[...selectors].map(([commands, patterns]) => `(${[...patterns].join(' ')} ${commands})`),
  ];
}

/** The users as lines of a Redis ACL file; passwords are given as SHA-256, which is the form of the file. */
export function aclFile(
  prefix: string,
  users: readonly { readonly user: RedisUser; readonly passwordSha256: string }[],
): string {
  return users
    .map(({ user, passwordSha256 }) => {
      const rules = aclRules(user, prefix).filter((rule) => rule !== 'reset');
      return `user ${userName(user)} ${rules.join(' ')} #${passwordSha256}`;
    })
    .join('\n');
}

/** The pattern of a family's keys, without the prefix of the shard and the tag of the pool. */
function patternOf({ place, name, parts, type }: Family): string {
  const rest = place === 'pool' && parts[0] === 'pool' ? parts.slice(1) : parts;
  return rest.length > 0 || type === 'BullMQ' ? `${name}:*` : name;
}
