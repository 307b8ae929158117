import { describe, expect, test } from '@jest/globals';
import { NEEDED_FIRST, roleProcesses } from './role-processes.ts';
import { DataFolder } from './data-folder.ts';

const DATA = new DataFolder('/data');
const specs = (url: string, pools = ['default']) =>
  roleProcesses(DATA, pools, { workers: 2, port: 0 }, { url, user: 'admin', password: 'secret' });

describe('the processes of an installation', () => {
  test('begin with what the first job needs: api, attestor and one worker', () => {
    const names = specs('unix:///redis.sock').map(({ name }) => name);
    expect(names).toEqual(['api', 'attestor', 'worker-1', 'worker-2', 'courier']);
    expect(names.slice(0, NEEDED_FIRST)).toEqual(['api', 'attestor', 'worker-1']);
  });

  // A worker that knew a signing key of another role could sign its own receipts.
  test('have the keys of their own role and no other', () => {
    const keys = specs('unix:///redis.sock').map(({ name, env }) => [
      name,
      Object.values(env).filter((value) => value.endsWith('.key')),
    ]);
    expect(keys).toEqual([
      ['api', ['/data/keys/api.key']],
      ['attestor', ['/data/keys/attestor.key', '/data/keys/log.key']],
      ['worker-1', ['/data/keys/worker-1.key']],
      ['worker-2', ['/data/keys/worker-2.key']],
      ['courier', ['/data/keys/api.key', '/data/keys/memory.key']],
    ]);
  });

  test('have a worker for each pool, each with the Redis user of its own', () => {
    const workers = specs('unix:///redis.sock', ['default', 'gold']).filter(({ role }) => role === 'worker');
    expect(workers.map(({ name, env }) => [name, env['COUNTERSIGN_POOL']])).toEqual([
      ['worker-1', 'default'],
      ['worker-2', 'default'],
      ['worker-gold-1', 'gold'],
      ['worker-gold-2', 'gold'],
    ]);
    expect(workers.map(({ env }) => env['COUNTERSIGN_REDIS_PASSWORD_FILE'])).toEqual([
      '/data/keys/redis-worker.default.password',
      '/data/keys/redis-worker.default.password',
      '/data/keys/redis-worker.gold.password',
      '/data/keys/redis-worker.gold.password',
    ]);
  });

  test('never get the password of the administrator of Redis', () => {
    for (const url of ['redis://admin:secret@host:6379/1', 'rediss://:secret@host', 'redis://host', 'unix:///r.sock'])
      for (const { env } of specs(url)) {
        expect(Object.values(env).join(' ')).not.toContain('secret');
        expect(env['COUNTERSIGN_REDIS_URL']).toBe(url.replace(/\/\/.*@/, '//'));
      }
  });
});
