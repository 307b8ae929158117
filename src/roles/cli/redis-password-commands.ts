import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { replaceSecretFile } from '../../ground/keys/key-file.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { ADMIN } from './data-folder.ts';

interface RedisOption {
  readonly redis?: string;
  readonly json?: boolean;
}

/**
 * `countersign keys redis`: the passwords of Redis users. A user has two for as long as its processes are
 * restarted one after the other, so that none of them is ever refused.
 */
export function addRedisPasswordCommands(cli: CliContext, keys: Command): void {
  const passwords = keys.command('redis').description('the passwords of Redis users');
  const command = (name: string, description: string) =>
    passwords
      .command(name)
      .description(description)
      .argument('<user>', 'Redis user: api, attestor, worker.POOL')
      .option('--redis <url>', 'Redis, by default the one of the data folder')
      .addOption(jsonOption());

  command('new', 'give a Redis user one more password and write it to the file; the one before stays valid').action(
    async (user: string, options: RedisOption) => {
      const password = randomBytes(32).toString('base64url');
      await withUser(cli, user, options, [`>${password}`]);
      // Only now: whoever starts meanwhile reads a password that every server knows.
      replaceSecretFile(cli.data.redisPassword(user), `${password}\n`);
      show(cli, user, options, 'hint: restart its processes one by one, then: countersign keys redis retire ' + user);
    },
  );
  command('retire', 'leave a Redis user the password of the file and no other').action(
    async (user: string, options: RedisOption) => {
      await withUser(cli, user, options, ['resetpass', `>${cli.data.passwordOf(user)}`]);
      show(cli, user, options);
    },
  );
}

/** Applies rules to a user, in one step on each server. */
async function withUser(cli: CliContext, user: string, options: RedisOption, rules: string[]): Promise<void> {
  await cli.withEachServer(ADMIN, options.redis, async (redis) => {
    await requireUser(redis, user);
    await redis.acl('SETUSER', user, ...rules);
    await saveUsers(redis);
  });
}

/** ACL SETUSER would make a user that may do nothing. */
async function requireUser(redis: Redis, user: string): Promise<void> {
  const known = await redis.acl('USERS');
  if (known.includes(user)) return;
  throw new CodedError('config_invalid', `Redis has no user ${user}; it has ${known.join(', ')}.`, {
    hint: 'make the one of a pool with: countersign pools add POOL',
  });
}

/** Writes the users to Redis' ACL file, if it has one, so that they outlive a restart. */
export async function saveUsers(redis: Redis): Promise<void> {
  await redis.acl('SAVE').catch((error: unknown) => {
    if (!/not configured to use an ACL file/i.test(messageOf(error))) throw error;
  });
}

function show({ data }: CliContext, user: string, options: RedisOption, ...hints: string[]): void {
  const file = data.redisPassword(user);
  new Output(options.json === true).show({ user, password_file: file }, [`${user}  password in ${file}`, ...hints]);
}
