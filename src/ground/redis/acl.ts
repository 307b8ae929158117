/**
 * The Redis users, one for each role, with the least they need.
 *
 * Redis checks these rules inside scripts too, for every key a script touches. Selectors (in parentheses) let a
 * worker write a field of a claim or of evidence once and append to the attestation stream, and nothing else there:
 * it can neither change nor delete what it or anyone else has said. Scripts must therefore be given those keys as
 * arguments and not as KEYS, for which Redis demands full read and write access. Patterns are tried in their order for
 * each key, so those of every job stand first.
 */
export const REDIS_ROLES = ['api', 'worker', 'attestor'] as const;
export type RedisRole = (typeof REDIS_ROLES)[number];

const CONNECT = '+hello +auth +info +ping +quit +select +client|setname +client|id +acl|whoami +command';
const SCRIPTS = '+eval +evalsha +multi +exec +time';

/** What BullMQ needs to add a job: derived from its scripts, and kept true by the end-to-end tests. */
const ADD_JOBS =
  '+del +exists +get +hget +hmget +hmset +hset +hgetall +incr +lindex +llen +lpos +lpush +lrange +persist +pttl +rpop +rpush +sadd +scard +set +xadd +xtrim +zadd +zcard +zcount +zrange +zrem +zrevrangebyscore +zscore +type';

/** What BullMQ needs besides, to take and finish jobs. */
const TAKE_JOBS =
  '+bzpopmin +hdel +hexists +hincrby +hlen +lrem +ltrim +lpop +pexpire +rename +rpoplpush +sismember +smembers +srem +unlink +xlen +zpopmin +zrangebyscore +zremrangebyrank +zremrangebyscore +zrevrange';

/**
 * The rules of a role as ACL SETUSER arguments, without the password.
 * `pools` limits a worker to the queues of these pools.
 */
export function aclRules(role: RedisRole, prefix: string, pools: readonly string[]): string[] {
  const p = (pattern: string) => `~${prefix}${pattern}`;
  const read = (pattern: string) => `%R~${prefix}${pattern}`;
  const words = (text: string) => text.split(' ');
  const begin = ['reset', 'on', ...words(CONNECT), ...words(SCRIPTS)];
  const bull = (pool: string) => [p(`bull:${pool}.*`)];
  const channels = 'resetchannels';
  switch (role) {
    case 'api':
      return [
        ...begin,
        channels,
        ...[
          'bull:*',
          'ticket:*',
          'jobs:*',
          'open',
          'fair:*',
          'cancels',
          'idem:*',
          'apikey*',
          'tenant*',
          'limit:*',
          'account:*',
          'usage:*',
          'jobends*',
          'duration',
          'listeners',
          'eventcursor',
          'feed:*',
          'webhook*',
          'deliver*',
          'payment*',
          'wake:p',
          'file*',
          'batch*',
        ].map(p),
        ...[
          'ruling:*',
          'claims:*',
          'evidence:*',
          'chunks:*',
          'ended*',
          'wake:*',
          'attest*',
          'worker*',
          'log*',
          'quarantined',
        ].map(read),
        ...words(ADD_JOBS),
        ...words(
          '+hsetnx +hstrlen +hexists +mget +xread +xrange +xrevrange +zrangebyscore +zrevrange +xlen +pexpire +smembers +unlink +hdel +hincrby +zremrangebyrank +hlen',
        ),
        // UsageStore that nobody can change: entries of the ledger are written once, the audit log only grows.
        `(~${prefix}ledger:* +hsetnx +hget +hgetall +hscan +hlen)`,
        `(~${prefix}audit +xadd)`,
        `(%R~${prefix}audit +xrevrange)`,
      ];
    case 'worker':
      return [
        ...begin,
        channels,
        ...pools.flatMap(bull),
        ...['lease:*', 'chunks:*'].map(p),
        ...['ticket:*', 'claims:*', 'ruling:*', 'cancels', 'attest', 'quarantined', 'challenge'].map(read),
        ...['worker*', 'wake:w'].map(p),
        ...words(ADD_JOBS),
        ...words(TAKE_JOBS),
        ...words('+xread +hsetnx'),
        // The root permissions hold +hsetnx, +xadd, but on no pattern below, so each of these is all a worker can do there.
        `(~${prefix}claims:* ~${prefix}evidence:* +hsetnx)`,
        `(~${prefix}attest +xadd)`,
        `(%R~${prefix}evidence:* +hexists)`,
      ];
    case 'attestor':
      return [
        ...begin,
        channels,
        ...['ruling:*'].map(p),
        ...['claims:*', 'ticket:*', 'evidence:*', 'lease:*'].map(read),
        ...[
          'open',
          'ended*',
          'log*',
          'wake:a',
          'attest',
          'attestor*',
          'registry',
          'quarantined',
          'challenge',
          'suspicion',
          'abull:*',
          'bull:*',
          'fair:*',
        ].map(p),
        ...['worker*', 'jobends'].map(read),
        ...words(ADD_JOBS),
        ...words(TAKE_JOBS),
        ...words(
          '+hsetnx +hstrlen +strlen +xreadgroup +xautoclaim +xack +xdel +xgroup|create +xread +xinfo|groups +zrangebyscore +mget',
        ),
        // Reading a group writes to the stream; it never adds an entry to the API's. Both are read in one command.
        `(~${prefix}cancels ~${prefix}attest +xreadgroup +xautoclaim +xack +xgroup|create)`,
        // Retention: the documents of a job go together, long after its end.
        `(~${prefix}ticket:* ~${prefix}claims:* ~${prefix}evidence:* ~${prefix}chunks:* ~${prefix}lease:* +unlink)`,
        `(~${prefix}jobs:* +zrem)`,
      ];
  }
}

/** The users as lines of a Redis ACL file; passwords are given as SHA-256, as the file format wants. */
export function aclFile(
  prefix: string,
  pools: readonly string[],
  passwordSha256: Readonly<Record<RedisRole, string>>,
): string {
  return REDIS_ROLES.map((role) => {
    const rules = aclRules(role, prefix, pools).filter((rule) => rule !== 'reset');
    return `user ${role} ${rules.join(' ')} #${passwordSha256[role]}`;
  }).join('\n');
}
