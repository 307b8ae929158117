/**
 * The Redis users, one for each role, each with no more rights than it needs.
 *
 * Redis checks these rules for every key that a script touches, also inside the script. A selector, written
 * in parentheses, grants commands on some keys only. Through selectors a worker writes each field of a claim
 * or of evidence once and appends to the attestation stream, and does nothing else there: it can neither
 * change nor delete what any worker has committed. Scripts get those keys as arguments and not as KEYS,
 * because Redis demands full read and write access for KEYS. Redis tries the patterns in their order for each
 * key, so the keys of every job stand first.
 */
export const REDIS_ROLES = ['api', 'worker', 'attestor'] as const;
export type RedisRole = (typeof REDIS_ROLES)[number];

const CONNECT = '+hello +auth +info +ping +quit +select +client|setname +client|id +acl|whoami +command';
const SCRIPTS = '+eval +evalsha +multi +exec +time';

/** What BullMQ needs to add a job: taken from its scripts, and kept true by the end-to-end tests. */
const ADD_JOBS =
  '+del +exists +get +hget +hmget +hmset +hset +hgetall +incr +lindex +llen +lpos +lpush +lrange +persist +pttl +rpop +rpush +sadd +scard +set +xadd +xtrim +zadd +zcard +zcount +zrange +zrem +zrevrangebyscore +zscore +type';

/** What BullMQ needs besides, to take and finish jobs. */
const TAKE_JOBS =
  '+bzpopmin +hdel +hexists +hincrby +hlen +lrem +ltrim +lpop +pexpire +rename +rpoplpush +sismember +smembers +srem +unlink +xlen +zpopmin +zrangebyscore +zremrangebyrank +zremrangebyscore +zrevrange';

/** What a role may do, in the words of ACL SETUSER; the keys without the prefix of the shard. */
interface Rights {
  /** `~pattern` to read and write, `%R~pattern` to read, in the order in which Redis tries them. */
  readonly keys: readonly string[];
  /** Commands on those keys. */
  readonly commands: readonly string[];
  /** Each grants its commands on its keys only. */
  readonly selectors: readonly string[];
}

const RIGHTS: Readonly<Record<RedisRole, Rights>> = {
  api: {
    keys: [
      '~bull:* ~ticket:* ~jobs:* ~open ~fair:* ~cancels ~idem:*',
      '~apikey* ~tenant* ~limit:* ~account:* ~usage:*',
      '~jobends* ~duration ~listeners ~eventcursor ~feed:* ~webhook* ~deliver* ~payment* ~wake:p ~file* ~batch*',
      '%R~ruling:* %R~claims:* %R~evidence:* %R~chunks:* %R~ended* %R~wake:*',
      '%R~attest* %R~worker* %R~log* %R~quarantined',
    ],
    commands: [
      ADD_JOBS,
      '+hsetnx +hstrlen +hexists +mget +xread +xrange +xrevrange +zrangebyscore +zrevrange +xlen',
      '+pexpire +smembers +unlink +hdel +hincrby +zremrangebyrank +hlen',
    ],
    selectors: [
      // An entry of the ledger is written once, and the audit log only grows.
      '~ledger:* +hsetnx +hget +hgetall +hscan +hlen',
      '~audit +xadd',
      '%R~audit +xrevrange',
    ],
  },
  worker: {
    keys: [
      // The queues of its pools come before these; see `aclRules`.
      '~lease:* ~chunks:*',
      '%R~ticket:* %R~claims:* %R~ruling:* %R~cancels %R~attest %R~quarantined %R~challenge',
      '~worker* ~wake:w',
    ],
    commands: [ADD_JOBS, TAKE_JOBS, '+xread +hsetnx'],
    selectors: [
      // The commands above include +hsetnx and +xadd, but no pattern above lets the worker write to these
      // keys. The selectors are therefore all that a worker can do there.
      '~claims:* ~evidence:* +hsetnx',
      '~attest +xadd',
      '%R~evidence:* +hexists',
    ],
  },
  attestor: {
    keys: [
      '~ruling:* %R~claims:* %R~ticket:* %R~evidence:* %R~lease:*',
      '~open ~ended* ~log* ~wake:a ~attest ~attestor* ~registry ~quarantined ~challenge ~suspicion',
      '~abull:* ~bull:* ~fair:*',
      '%R~worker* %R~jobends',
    ],
    commands: [
      ADD_JOBS,
      TAKE_JOBS,
      '+hsetnx +hstrlen +strlen +xreadgroup +xautoclaim +xack +xdel +xgroup|create +xread +xinfo|groups',
      '+zrangebyscore +mget',
    ],
    selectors: [
      // One command reads the API's stream and the workers' in a consumer group, and reading in a group
      // writes to the stream. The attestor never adds an entry to the API's.
      '~cancels ~attest +xreadgroup +xautoclaim +xack +xgroup|create',
      // Retention removes the documents of a job together, long after its end.
      '~ticket:* ~claims:* ~evidence:* ~chunks:* ~lease:* +unlink',
      '~jobs:* +zrem',
    ],
  },
};

/**
 * The rules of a role as arguments of ACL SETUSER, without the password. `prefix` is the prefix of the
 * shard's keys. `pools` limits a worker to the queues of these pools; the other roles have the queues of all.
 */
export function aclRules(role: RedisRole, prefix: string, pools: readonly string[]): string[] {
  const { keys, commands, selectors } = RIGHTS[role];
  const prefixed = (text: string) => text.replaceAll('~', `~${prefix}`);
  const queues = role === 'worker' ? pools.map((pool) => `~bull:${pool}.*`) : [];
  return [
    'reset on',
    CONNECT,
    SCRIPTS,
    'resetchannels',
    ...[...queues, ...keys].map(prefixed),
    ...commands,
    ...selectors.map((selector) => `(${prefixed(selector)})`),
  ].flatMap((rule) => (rule.startsWith('(') ? rule : rule.split(' ')));
}

/** The users as lines of a Redis ACL file; passwords are given as SHA-256, which is the form of the file. */
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
