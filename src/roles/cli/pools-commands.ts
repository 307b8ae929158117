import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { Announcements } from '../../core/catalog/announcement.ts';
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

/** `countersign pools`: the pools of the installation, and the Redis users of their workers. */
export function addPoolsCommands(cli: CliContext): void {
  const pools = cli.program.command('pools').description('the pools, and the Redis users of their workers');
  const command = (name: string, description: string) =>
    pools
      .command(name)
      .description(description)
      .option('--redis <url>', 'Redis, by default the one of the data folder')
      .addOption(jsonOption());

  command('list', 'the pools of the catalog: models, workers that are there, and whether they are cut').action(
    (options: RedisOption) => cli.withRedis(ADMIN, options.redis, (redis) => list(cli, redis, options)),
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
  const announcements = new Announcements(redis, new RedisKeys(data.shard));
  const cutPools = readCutPools(data);
  const rows = await Promise.all(
    catalog.pools().map(async (pool) => ({
      pool,
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
      ({ pool, tag, models, workers, cut: isCut }) =>
        `${pool}  @${tag}  ${workers} worker(s)  ${models.join(', ')}${isCut ? '  CUT' : ''}`,
    ),
  );
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
