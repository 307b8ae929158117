import { aclRules, redisUsers, userName } from '../../ground/redis/acl.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { SHARD } from './set-up.ts';

/** `countersign acl`: the Redis users of roles and pools, for a Redis that somebody else administers. */
export function addAclCommand({ program }: CliContext): void {
  program
    .command('acl')
    .description(
      'print the Redis users of the roles and of the workers of each pool, for an administrator, who chooses the passwords',
    )
    .option('--pools <list>', 'pools of the workers, comma-separated', 'default')
    .addOption(jsonOption())
    .action((options: { pools: string; json?: boolean }) => {
      const users = redisUsers(options.pools.split(',')).map((user) => ({
        user: userName(user),
        rules: aclRules(user, new RedisKeys(SHARD).prefix),
      }));
      const quoted = (rule: string) => (rule.includes(' ') ? `"${rule}"` : rule);
      new Output(options.json === true).show(
        { users },
        users.map(({ user, rules }) => `ACL SETUSER ${user} ${rules.map(quoted).join(' ')} >PASSWORD`),
      );
    });
}
