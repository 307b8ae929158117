import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { Announcements } from '../../core/catalog/announcement.ts';
import type { PoolState } from '../../core/backlog/pool-state.ts';
import { Pools, type Pool } from '../../core/backlog/pool.store.ts';
import { readCatalog } from '../../core/catalog/catalog.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { replaceSecretFile } from '../../ground/keys/key-file.ts';
import { aclRules, userName } from '../../ground/redis/acl.ts';
import { RedisKeys, poolTag } from '../../ground/redis/keys.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { saveUsers } from './redis-password-commands.ts';
import { ADMIN } from './data-folder.ts';
import { readCutPools, writeCutPools } from './set-up.ts';

/** Keys removed by one command, so that Redis serves others in between. */
const KEYS_PER_STEP = 500;
/** What a pool's workers write and what waits for them; documents of jobs stay. */
const MAILBOXES = ['attest', 'bull', 'chunks', 'hardware', 'lease', 'worker'];

interface RedisOption {
  readonly redis?: string;
  readonly json?: boolean;
}

interface EmptyOption extends RedisOption {
  readonly yes?: boolean;
}

/** Who acts, in the audit log: a holder of Redis' passwords. */
const ACTOR = 'cli';
const STATES = [
  [
    'pause',
    'paused',
    'begin nothing more of a pool; jobs are accepted and wait, and what was given to workers runs on',
  ],
  ['drain', 'draining', 'refuse new jobs for a pool; what waits is worked on'],
  ['resume', 'open', 'undo pause and drain'],
] as const satisfies readonly (readonly [name: string, state: PoolState, description: string])[];

/** `countersign pools`: the pools of the installation, and the Redis users of their workers. */
export function addPoolsCommands(cli: CliContext): void {
  const pools = cli.program
    .command('pools')
    .description('the pools, what waits in them, and the Redis users of their workers');
  const command = (name: string, description: string) =>
    pools
      .command(name)
      .description(description)
      .option('--redis <url>', 'Redis, by default the one of the data folder')
      .addOption(jsonOption());

  command(
    'list',
    'the pools of the catalog: models, workers, what waits, and whether they are paused, drained, emptied or cut',
  ).action((options: RedisOption) => cli.withRedis(ADMIN, options.redis, (redis) => list(cli, redis, options)));
  for (const [name, state, description] of STATES)
    command(name, description)
      .argument('<pool>', 'name of the pool')
      .action((pool: string, options: RedisOption) =>
        withPools(cli, options, async (store) => show(options, await store.put(ACTOR, named(pool), state))),
      );
  command('empty', 'cancel the jobs that wait in a pool now, in the background; without --yes, say how many')
    .argument('<pool>', 'name of the pool')
    .option('--yes', 'it cannot be taken back')
    .action((pool: string, options: EmptyOption) =>
      withPools(cli, options, (store) => empty(store, named(pool), options)),
    );
  command('add', 'make the Redis user of a pool, or let one that was cut back in under a new password')
    .argument('<pool>', 'name of the pool')
    .action((pool: string, options: RedisOption) => add(cli, named(pool), options));
  command('cut', 'shut the workers of a pool out at once; its jobs wait for other workers')
    .argument('<pool>', 'name of the pool')
    .action((pool: string, options: RedisOption) => cut(cli, named(pool), options));
}

async function list({ data }: CliContext, redis: Redis, options: RedisOption): Promise<void> {
  const catalog = readCatalog(data.catalog());
  const keys = new RedisKeys(data.shard);
  const announcements = new Announcements(redis, keys);
  const cutPools = readCutPools(data);
  const store = new Pools(redis, keys, catalog, new AuditLog(redis, keys));
  const rows = await Promise.all(
    (await store.list()).map(async ({ name: pool, ...standing }) => ({
      pool,
      ...standingRow(standing),
      tag: poolTag(pool),
      user: userName({ role: 'worker', pool }),
      models: catalog.all().flatMap((model) => (model.pool === pool ? [model.name] : [])),
      workers: (await announcements.present({ role: 'worker', pool })).length,
      cut: cutPools.has(pool),
    })),
  );
  new Output(options.json === true).show(
    { pools: rows },
    rows.map(
      ({ pool, tag, models, workers, cut: isCut, ...row }) =>
        `${pool}  @${tag}  ${workers} worker(s)  ${models.join(', ')}  ${words(row)}${isCut ? '  CUT' : ''}`,
    ),
  );
}

/** What `use` returns of the pools as their operator has left them. */
function withPools<T>(cli: CliContext, options: RedisOption, use: (pools: Pools) => Promise<T>): Promise<T> {
  const { data } = cli;
  const catalog = readCatalog(data.catalog());
  return cli.withRedis(ADMIN, options.redis, (redis) => {
    const keys = new RedisKeys(data.shard);
    return use(new Pools(redis, keys, catalog, new AuditLog(redis, keys)));
  });
}

async function empty(store: Pools, pool: string, options: EmptyOption): Promise<void> {
  if (options.yes === true) {
    show(options, await store.empty(ACTOR, pool));
    return;
  }
  const { waiting } = await store.get(pool);
  new Output(options.json === true).show({ pool, waiting, emptying: null }, [
    `${pool}  ${waiting} job(s) wait; nothing was cancelled`,
    `hint: cancel them with: countersign pools empty ${pool} --yes`,
  ]);
}

function show(options: RedisOption, { name: pool, ...standing }: Pool): void {
  const row = standingRow(standing);
  new Output(options.json === true).show({ pool, ...row }, [`${pool}  ${words(row)}`]);
}

/** How a pool stands, as it is printed. */
function standingRow({ state, sinceMs, by, waiting, emptying }: Omit<Pool, 'name'>) {
  const time = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    state,
    since: time(sinceMs),
    by: by ?? null,
    waiting,
    emptying:
      emptying === undefined
        ? null
        : {
            asked: time(emptying.askedMs),
            by: emptying.by,
            found: emptying.found,
            cancelled: emptying.cancelled,
            ended: time(emptying.endedMs),
          },
  };
}

function words({ state, since, by, waiting, emptying }: ReturnType<typeof standingRow>): string {
  const standing = since === null ? state : `${state} since ${since} by ${by ?? ''}`;
  const emptied =
    emptying === null
      ? ''
      : `  ${emptying.ended === null ? 'is being emptied' : `emptied ${emptying.ended}`} by ${emptying.by}: ${emptying.cancelled} of ${emptying.found} cancelled`;
  return `${standing}  ${waiting} waiting${emptied}`;
}

/** The file always holds a password, and the pool counts as cut until every server knows it. */
async function add(cli: CliContext, pool: string, options: RedisOption): Promise<void> {
  const { data } = cli;
  const user = userName({ role: 'worker', pool });
  const cutPools = readCutPools(data);
  if (cutPools.has(pool) || !existsSync(data.redisPassword(user)))
    replaceSecretFile(data.redisPassword(user), `${randomBytes(32).toString('base64url')}\n`);
  const rules = aclRules({ role: 'worker', pool }, new RedisKeys(data.shard).prefix);
  await cli.withEachServer(ADMIN, options.redis, async (redis) => {
    await redis.acl('SETUSER', user, ...rules, `>${data.passwordOf(user)}`);
    await saveUsers(redis);
  });
  cutPools.delete(pool);
  writeCutPools(data, cutPools);
  await noted(cli, pool, 'pool.add', options);
  const file = data.redisPassword(user);
  new Output(options.json === true).show({ pool, user, password_file: file }, [
    `${pool}  Redis user ${user}, password in ${file}`,
  ]);
}

/** In the audit log, by the administrator of Redis. */
function noted(cli: CliContext, pool: string, action: string, options: RedisOption): Promise<void> {
  const keys = new RedisKeys(cli.data.shard);
  return cli.withRedis(ADMIN, options.redis, (redis) =>
    new AuditLog(redis, keys).note({ by: 'cli', action, target: pool, tenant: null, detail: {} }),
  );
}

/**
 * On every server, as a replica may become the master: the user first, then its connections and what runs for
 * them. Then what it wrote. Jobs that ran are found without a lease and wait for another worker.
 */
async function cut(cli: CliContext, pool: string, options: RedisOption): Promise<void> {
  const user = userName({ role: 'worker', pool });
  writeCutPools(cli.data, readCutPools(cli.data).add(pool));
  let killed = 0;
  await cli.withEachServer(ADMIN, options.redis, async (redis) => {
    await redis.acl('SETUSER', user, 'off', 'resetpass');
    await saveUsers(redis);
    killed += Number(await redis.client('KILL', 'USER', user));
    await redis.script('KILL').catch((error: unknown) => {
      if (!messageOf(error).startsWith('NOTBUSY')) throw error;
    });
  });
  const removed = await cli.withRedis(ADMIN, options.redis, (redis) =>
    emptyMailboxes(redis, new RedisKeys(cli.data.shard).prefix, pool),
  );
  await noted(cli, pool, 'pool.cut', options);
  new Output(options.json === true).show({ pool, user, connections: killed, keys: removed }, [
    `${pool}  ${user} is shut out: ${killed} connection(s) ended, ${removed} key(s) removed`,
    'hint: let it back in with: countersign pools add ' + pool,
  ]);
}

async function emptyMailboxes(redis: Redis, prefix: string, pool: string): Promise<number> {
  const base = `${prefix}@${poolTag(pool)}:`;
  let cursor = '0';
  let removed = 0;
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${base}*`, 'COUNT', KEYS_PER_STEP);
    const mine = found.filter((key) => MAILBOXES.includes(key.slice(base.length).split(':')[0] ?? ''));
    if (mine.length > 0) removed += await redis.unlink(...mine);
    cursor = next;
  } while (cursor !== '0');
  return removed;
}

function named(pool: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(pool)) return pool;
  throw new CodedError('config_invalid', `${pool} is no name of a pool: lower-case letters, digits and hyphens.`);
}
