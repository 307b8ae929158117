import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { redisOptions } from '../../src/ground/redis/connection.ts';
import { RedisKeys, poolTag } from '../../src/ground/redis/keys.ts';
import { findRedisServer, startPrivateRedis, type PrivateRedis } from '../../src/ground/redis/redis-server.ts';
import { DataFolder } from '../../src/roles/cli/data-folder.ts';
import { aclLines, openPools, prepare } from '../../src/roles/cli/set-up.ts';
import { until } from '../support/pipeline.ts';
import { ROOT } from '../support/redis.ts';

const run = promisify(execFile);
const JOB = `job_${poolTag('default')}${'0'.repeat(26)}`;

describe('countersign pools', () => {
  const data = new DataFolder(mkdtempSync(join(tmpdir(), 'cs-pools-')));
  const keys = new RedisKeys(data.shard);
  const clients: Redis[] = [];
  let server: PrivateRedis;
  beforeAll(async () => {
    prepare(data, 1);
    await start();
  });
  afterAll(async () => {
    for (const client of clients) client.disconnect();
    await server.stop();
    rmSync(data.path, { recursive: true, force: true });
  });

  async function start(): Promise<void> {
    const program = await findRedisServer(join(ROOT, '.countersign', 'redis-server'), () => undefined);
    const admin = { user: 'admin', password: data.passwordOf('admin') };
    server = await startPrivateRedis({ program, folder: data.at('redis'), users: aclLines(data), admin });
  }

  function client(user: string, password = data.passwordOf(user)): Redis {
    const redis = new Redis({
      ...redisOptions({ url: server.url, user, password }, 'patient'),
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
    });
    redis.on('error', () => undefined);
    clients.push(redis);
    return redis;
  }

  async function pools<Answer>(...args: string[]): Promise<Answer> {
    const program = join(ROOT, 'dist', 'roles', 'cli', 'main.js');
    const env = { PATH: process.env['PATH'] ?? '', HOME: data.path };
    const { stdout } = await run(
      process.execPath,
      [program, '--data', data.path, 'pools', ...args, '--redis', server.url, '--json'],
      { env },
    );
    return JSON.parse(stdout) as Answer;
  }

  test('cut shuts the workers of a pool out at once and empties what they wrote; documents of jobs stay', async () => {
    const worker = client('worker.default');
    await worker.set(keys.lease(JOB), 'x');
    await worker.xadd(keys.attest('default'), '*', 'k', 'e');
    await worker.hsetnx(keys.claims(JOB), 'e1', 'x');
    await Promise.all(Array.from({ length: 1_200 }, (_, n) => worker.set(keys.worker('default', `w-${n}`), 'x')));
    const old = data.passwordOf('worker.default');

    const cut = await pools<{ connections: number; keys: number }>('cut', 'default');
    expect(cut).toMatchObject({ connections: 1, keys: 1_202 });
    await until(() => Promise.resolve(worker.status === 'end'));
    await expect(client('worker.default', old).ping()).rejects.toThrow();
    const admin = client('admin');
    expect(await admin.exists(keys.lease(JOB), keys.attest('default'), keys.worker('default', 'w-1'))).toBe(0);
    expect(await admin.exists(keys.claims(JOB))).toBe(1);
    expect(await pools('list')).toMatchObject({ pools: [{ pool: 'default', cut: true, workers: 0 }] });
  });

  test('a cut outlives a restart of Redis and of the installation', async () => {
    await server.stop();
    await start();
    expect(openPools(data)).toEqual([]);
    await expect(client('worker.default').ping()).rejects.toThrow();
  });

  test('add lets it back in under a new password, and makes the user of a pool that is new', async () => {
    const old = data.passwordOf('worker.default');
    await pools('add', 'default');
    expect(data.passwordOf('worker.default')).not.toBe(old);
    expect(await client('worker.default').ping()).toBe('PONG');
    expect(openPools(data)).toEqual(['default']);
    await pools('add', 'fresh');
    const fresh = client('worker.fresh');
    expect(await fresh.ping()).toBe('PONG');
    await expect(fresh.get(keys.lease(JOB))).rejects.toThrow('NOPERM');
  });

  test('pause, drain and resume say who and since when, and empty says how much waits before it does anything', async () => {
    const admin = client('admin');
    expect(await pools('pause', 'default')).toMatchObject({ state: 'paused', by: 'cli', waiting: 0, emptying: null });
    const { pools: listed } = await pools<{ pools: { pool: string; models: string[] }[] }>('list');
    expect(listed).toMatchObject([{ pool: 'default', state: 'paused', by: 'cli' }]);
    await admin.zadd(keys.backlog(`default.${listed[0]?.models[0] ?? ''}`), 1, JOB);
    expect(await pools('empty', 'default')).toEqual({ pool: 'default', waiting: 1, emptying: null });
    expect(await admin.exists(keys.emptying('default'))).toBe(0);
    expect(await pools('empty', 'default', '--yes')).toMatchObject({
      emptying: { by: 'cli', found: 1, cancelled: 0, ended: null },
    });
    expect(await pools('drain', 'default')).toMatchObject({ state: 'draining', waiting: 1 });
    expect(await pools('resume', 'default')).toMatchObject({ state: 'open', since: null, by: null });
    await expect(pools('pause', 'nowhere')).rejects.toMatchObject({ code: 3 });
  });

  test('a name that no pool can have is refused', async () => {
    await expect(pools('cut', '../x')).rejects.toMatchObject({ code: 2 });
  });
});
