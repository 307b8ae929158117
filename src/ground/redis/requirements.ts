import type { Redis } from 'ioredis';
import { CodedError } from '../errors/coded-error.ts';

export interface RedisFinding {
  readonly name: 'version' | 'eviction' | 'persistence' | 'user';
  readonly ok: boolean;
  readonly found: string;
  readonly advice: string;
}

/**
 * What makes a Redis server fit to hold accepted jobs: each requirement, whether it is met, and how to meet
 * it.
 */
export async function inspectRedis(redis: Redis, role?: string): Promise<RedisFinding[]> {
  const info = parseInfo(await redis.info('server', 'memory', 'persistence'));
  const version = info.get('redis_version') ?? '0';
  const policy = info.get('maxmemory_policy') ?? 'unknown';
  const aof = info.get('aof_enabled') ?? '0';
  const findings: RedisFinding[] = [
    {
      name: 'version',
      ok: Number(version.split('.')[0]) >= 7,
      found: `Redis ${version}`,
      advice: 'Use Redis 7.0 or later, or Valkey: the access rules need selectors.',
    },
    {
      name: 'eviction',
      ok: policy === 'noeviction',
      found: `maxmemory-policy ${policy}`,
      advice: 'Set maxmemory-policy noeviction: any other policy deletes accepted jobs when memory is short.',
    },
    {
      name: 'persistence',
      ok: aof === '1',
      found: `appendonly ${aof === '1' ? 'yes' : 'no'}`,
      advice: 'Set appendonly yes: without it a restart forgets accepted jobs.',
    },
  ];
  if (role !== undefined) {
    const user = await redis.acl('WHOAMI');
    findings.push({
      name: 'user',
      ok: user === role || user.startsWith(`${role}.`),
      found: `Redis user ${user}`,
      advice: `This role must connect as the Redis user "${role}", which may do only what that role does; countersign acl prints the users.`,
    });
  }
  return findings;
}

/**
 * Throws CodedError `redis_unfit`, which has every reason at once. The user is checked where a role is named.
 */
export async function requireFitRedis(redis: Redis, role?: string): Promise<void> {
  const unfit = (await inspectRedis(redis, role)).filter((finding) => !finding.ok);
  if (unfit.length === 0) return;
  throw new CodedError('redis_unfit', unfit.map(({ found, advice }) => `${found}: ${advice}`).join(' '), {
    hint: 'countersign doctor explains each finding',
  });
}

/** The lines of INFO, by their names. */
export function parseInfo(text: string): Map<string, string> {
  return new Map(
    text.split('\r\n').flatMap((line): [string, string][] => {
      const colon = line.indexOf(':');
      return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)]] : [];
    }),
  );
}
