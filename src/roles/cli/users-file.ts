import { createHash } from 'node:crypto';
import { aclFile, redisUsers, userName } from '../../ground/redis/acl.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { ADMIN } from './data-folder.ts';

interface Users {
  readonly shard: string;
  readonly pools: readonly string[];
  readonly passwordOf: (user: string) => string;
}

/**
 * The lines of Redis' ACL file for an installation: its roles, the workers of its pools, and an administrator
 * who may do everything. Passwords stand there as SHA-256. Throws what `passwordOf` throws.
 */
export function usersFile({ shard, pools, passwordOf }: Users): string[] {
  const hash = (user: string) => createHash('sha256').update(passwordOf(user)).digest('hex');
  const users = redisUsers(pools).map((user) => ({ user, passwordSha256: hash(userName(user)) }));
  return [...aclFile(new RedisKeys(shard).prefix, users).split('\n'), `user ${ADMIN} on ~* &* +@all #${hash(ADMIN)}`];
}
