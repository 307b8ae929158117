import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readSecretFile, writeSecretFile } from '../../ground/keys/key-file.ts';
import { aclRules, redisUsers, userName } from '../../ground/redis/acl.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { DEFAULT_USER } from '../../ground/redis/redis-server.ts';
import type { CliContext } from './cli-context.ts';
import { ADMIN } from './data-folder.ts';
import { Output, jsonOption } from './output.ts';
import { usersFile } from './users-file.ts';

interface AclOptions {
  readonly pools: string;
  readonly passwords?: string;
  readonly commands?: boolean;
  readonly json?: boolean;
}

/**
 * `countersign acl`: the Redis users of the administrator, the roles and the workers of each pool, for a
 * Redis that this program does not start. What it prints without flags is an ACL file as it stands.
 */
export function addAclCommand(cli: CliContext): void {
  cli.program
    .command('acl')
    .description('print the Redis users of the administrator, the roles and the workers of each pool: an ACL file')
    .option('--pools <list>', 'pools of the workers, comma-separated', 'default')
    .option(
      '--passwords <folder>',
      'folder with a file redis-USER.password for each; makes those that are missing; by default the data folder, which makes none',
    )
    .option('--commands', 'print ACL SETUSER commands without passwords, for a Redis that takes no ACL file')
    .addOption(jsonOption())
    .action((options: AclOptions) => {
      const { shard } = cli.data;
      const pools = options.pools.split(',').map((pool) => pool.trim());
      const out = new Output(options.json === true);
      if (options.commands === true) {
        const users = redisUsers(pools).map((user) => ({
          user: userName(user),
          rules: aclRules(user, new RedisKeys(shard).prefix),
        }));
        const quoted = (rule: string) => (rule.includes(' ') ? `"${rule}"` : rule);
        out.show(
          { users },
          users.map(({ user, rules }) => `ACL SETUSER ${user} ${rules.map(quoted).join(' ')} >PASSWORD`),
        );
        return;
      }
      if (options.passwords !== undefined) makeMissing(options.passwords, pools);
      const passwordOf = (user: string) =>
        options.passwords === undefined
          ? cli.data.passwordOf(user)
          : readSecretFile(fileIn(options.passwords, user)).reveal().trim();
      const lines = [DEFAULT_USER, ...usersFile({ shard, pools, passwordOf })];
      out.show({ lines }, lines);
    });
}

const fileIn = (folder: string, user: string): string => join(folder, `redis-${user}.password`);

function makeMissing(folder: string, pools: readonly string[]): void {
  for (const user of [...redisUsers(pools).map(userName), ADMIN])
    if (!existsSync(fileIn(folder, user)))
      writeSecretFile(fileIn(folder, user), `${randomBytes(32).toString('base64url')}\n`);
}
