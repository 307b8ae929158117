import type { Redis } from 'ioredis';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { DurabilityLevel } from './durability.ts';

export interface RedisFinding {
  readonly name: 'version' | 'eviction' | 'persistence' | 'durability' | 'user';
  readonly ok: boolean;
  readonly found: string;
  readonly advice: string;
}

/** Who asks, and what is asked for besides. */
export interface Demands {
  /** The Redis user that must be connected. */
  readonly user?: string | undefined;
  readonly durability?: DurabilityLevel | undefined;
}

/**
 * What makes a Redis server fit to hold accepted jobs: each requirement, whether it is met, and how to meet
 * it.
 */
export async function inspectRedis(redis: Redis, { user: role, durability }: Demands = {}): Promise<RedisFinding[]> {
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
  if (durability !== undefined) findings.push(await durabilityFinding(redis, durability));
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
 * Whether the server's disk keeps up with what was promised. Our roles may not read the configuration, which
 * has passwords in it; what they cannot know is no fault, and `countersign doctor` looks as administrator.
 */
async function durabilityFinding(redis: Redis, { kind }: DurabilityLevel): Promise<RedisFinding> {
  const reply: unknown = await redis.config('GET', 'appendfsync').catch((error: unknown) => {
    if (!/^(NOPERM|ERR unknown)/.test(messageOf(error))) throw error;
    return [];
  });
  const policy = Array.isArray(reply) && typeof reply[1] === 'string' ? reply[1] : undefined;
  const wanted = kind === 'always' ? ['always'] : ['always', 'everysec'];
  return {
    name: 'durability',
    ok: policy === undefined || wanted.includes(policy),
    found: `appendfsync ${policy ?? 'unknown, as this user may not read it'}`,
    advice:
      kind === 'always'
        ? 'Set appendfsync always, or say COUNTERSIGN_DURABILITY=everysec or replicas:N and what that may lose.'
        : 'Set appendfsync everysec: without it the system decides when anything reaches the disk.',
  };
}

/**
 * Throws CodedError `redis_unfit`, which has every reason at once. The user is checked where one is named.
 */
export async function requireFitRedis(redis: Redis, demands: Demands = {}): Promise<void> {
  const unfit = (await inspectRedis(redis, demands)).filter((finding) => !finding.ok);
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
