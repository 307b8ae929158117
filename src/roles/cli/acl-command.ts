import { REDIS_ROLES, aclRules } from '../../ground/redis/acl.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { SHARD } from './set-up.ts';

/** `countersign acl`: the Redis users of the roles, for a Redis with an administrator of its own. */
export function addAclCommand({ program }: CliContext): void {
  program
    .command('acl')
    .description('print the Redis users of the roles, for an administrator, who chooses the passwords')
    .option('--pools <list>', 'pools of the workers, comma-separated', 'default')
    .addOption(jsonOption())
    .action((options: { pools: string; json?: boolean }) => {
      const users = REDIS_ROLES.map((role) => ({
        user: role,
        rules: aclRules(role, new RedisKeys(SHARD).prefix, options.pools.split(',')),
      }));
      const quoted = (rule: string) => (rule.includes(' ') ? `"${rule}"` : rule);
      new Output(options.json === true).show(
        { users },
        users.map(({ user, rules }) => `ACL SETUSER ${user} ${rules.map(quoted).join(' ')} >PASSWORD`),
      );
    });
}
