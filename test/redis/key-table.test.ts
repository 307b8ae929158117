import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { aclRules } from '../../src/ground/redis/acl.ts';
import { KEY_TABLE, type Access, type Family, type FamilyName } from '../../src/ground/redis/key-table.ts';
import { RedisKeys, poolTag, scriptNames } from '../../src/ground/redis/keys.ts';
import { TestRedis } from '../support/redis.ts';

/** A command that reads a key of each type, and one that writes it; every role has them all on some key. */
const READS: Record<Family['type'], string[]> = {
  hash: ['HGET', 'KEY', 'f'],
  string: ['GET', 'KEY'],
  set: ['SMEMBERS', 'KEY'],
  'sorted set': ['ZRANGE', 'KEY', '0', '-1'],
  list: ['LRANGE', 'KEY', '0', '-1'],
  stream: ['XREAD', 'STREAMS', 'KEY', '0'],
  BullMQ: ['HGET', 'KEY', 'f'],
};
const WRITES: Record<Family['type'], string[]> = {
  hash: ['HSET', 'KEY', 'f', 'v'],
  string: ['SET', 'KEY', 'v'],
  set: ['SADD', 'KEY', 'v'],
  'sorted set': ['ZADD', 'KEY', '1', 'v'],
  list: ['LPUSH', 'KEY', 'v'],
  stream: ['XADD', 'KEY', '*', 'f', 'v'],
  BullMQ: ['HSET', 'KEY', 'f', 'v'],
};
const USERS = { api: 'api', worker: 'worker.default', attestor: 'attestor' } as const;
const JOB = (pool: string) => `job_${poolTag(pool)}${'0'.repeat(26)}`;

const families = Object.entries<Family>(KEY_TABLE) as [FamilyName, Family][];

/** A key of the family in this pool, or at home. */
function keyOf(keys: RedisKeys, [name, { parts, type }]: [FamilyName, Family], pool: string): string {
  const named = keys[name];
  if (typeof named === 'string') return type === 'BullMQ' ? `${named}:q:wait` : named;
  const values = parts.map((part) => (part === 'job' ? JOB(pool) : part === 'pool' ? pool : 'x'));
  const key = (named as (...all: string[]) => string)(...values);
  return type === 'BullMQ' ? `${key}:${pool}.noop:wait` : key;
}

/** Whether a role may read and write with these commands, by the table. */
function expected(access: Access | undefined, read: string, write: string) {
  const grants = (command: string) =>
    typeof access === 'object' && access.only.split(' ').includes(`+${command.toLowerCase()}`);
  return {
    reads:
      access === 'read' || access === 'write' || (typeof access === 'object' && access.reads === true) || grants(read),
    writes: access === 'write' || grants(write),
  };
}

describe('the table of keys', () => {
  let server: TestRedis;
  let admin: Redis;
  beforeAll(async () => {
    server = await TestRedis.start();
    admin = server.client();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const may = async (user: string, command: readonly string[], key: string) =>
    (await admin.call('ACL', 'DRYRUN', user, ...command.map((word) => (word === 'KEY' ? key : word)))) === 'OK';

  test.each(families)('%s: each role may do what the table says, and nothing else', async (...entry) => {
    const [name, family] = entry;
    const key = keyOf(server.keys, entry, 'default');
    const [read, write] = [READS[family.type], WRITES[family.type]];
    for (const [role, user] of Object.entries(USERS) as [keyof typeof USERS, string][]) {
      const found = { reads: await may(user, read, key), writes: await may(user, write, key) };
      const wanted = expected(family[role], read[0] ?? '', write[0] ?? '');
      expect([name, role, found]).toEqual([name, role, wanted]);
      expect([name, role, await may(user, ['DEL', 'KEY'], key)]).toEqual([name, role, family[role] === 'write']);
    }
    if (family.place === 'pool') {
      const foreign = keyOf(server.keys, entry, 'gold');
      for (const command of [read, write, ['DEL', 'KEY'], ['HSETNX', 'KEY', 'f', 'v'], ['XADD', 'KEY', '*', 'f', 'v']])
        expect([name, command[0], await may('worker.default', command, foreign)]).toEqual([name, command[0], false]);
    }
  });

  test('names keys in Lua as in TypeScript', async () => {
    for (const entry of families) {
      const [name, { parts, type }] = entry;
      const byPool = parts[0] === 'job' || parts[0] === 'pool';
      const values = parts.map((part, at) => (byPool && at === 0 ? JOB('default') : 'x'));
      const script = parts.length === 0 ? `return keys.${name}` : `return keys.${name}(unpack(ARGV, 2))`;
      const found = await admin.eval(scriptNames(script) + script, 0, server.keys.prefix, ...values);
      const own = keyOf(server.keys, entry, 'default');
      expect([name, type === 'BullMQ' ? own.startsWith(`${String(found)}:`) : found]).toEqual([
        name,
        type === 'BullMQ' ? true : own,
      ]);
    }
  });

  test('refuses a script that names a family which is not in it', () => {
    expect(() => scriptNames('return keys.nothing')).toThrow('nothing');
  });

  test('lets no two pools of an installation share a key, and gives each worker the channels of its pool only', () => {
    const rules = aclRules({ role: 'worker', pool: 'default' }, new RedisKeys('cs').prefix);
    expect(rules.filter((rule) => rule.startsWith('&')).every((rule) => rule.includes(`@${poolTag('default')}:`))).toBe(
      true,
    );
  });
});
