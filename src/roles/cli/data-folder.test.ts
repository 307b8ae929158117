import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DataFolder, roleOf, userOf } from './data-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'cs-data-'));
beforeAll(() => {
  mkdirSync(join(folder, 'keys'));
  for (const name of ['redis-api', 'redis-admin', 'environment'])
    writeFileSync(join(folder, 'keys', `${name}.password`), `of ${name}\n`, { mode: 0o600 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PASSWORD = { COUNTERSIGN_REDIS_PASSWORD_FILE: join(folder, 'keys', 'environment.password') };

describe('what a command uses of an installation', () => {
  test('is what the environment names, for each file and setting, and else the file of the folder', () => {
    const files = {
      COUNTERSIGN_KEYRING: 'keyring',
      COUNTERSIGN_CATALOG: 'catalog',
      COUNTERSIGN_ENROLLED_WORKERS: 'enrolled',
      COUNTERSIGN_BLOBS: 'blobs',
      COUNTERSIGN_FILES: 'files',
      COUNTERSIGN_TLOG: 'log',
      COUNTERSIGN_CLIENT_KEY_FILE: 'devKey',
      COUNTERSIGN_REGISTRY_KEY_FILE: 'registryKey',
    } as const;
    for (const [variable, file] of Object.entries(files)) {
      expect(new DataFolder(folder, { [variable]: '/elsewhere' })[file]()).toBe('/elsewhere');
      expect(new DataFolder(folder, { [variable]: '' })[file]().startsWith(folder)).toBe(true);
      expect(new DataFolder(folder)[file]().startsWith(folder)).toBe(true);
    }
    expect(new DataFolder(folder, { COUNTERSIGN_SHARD: 'eu1' }).shard).toBe('eu1');
    expect(() => new DataFolder(folder, { COUNTERSIGN_SHARD: 'E U' }).shard).toThrow('COUNTERSIGN_SHARD');
    const remote = new DataFolder(folder, { COUNTERSIGN_REDIS_URL: 'redis://there' });
    expect([remote.redisUrl(undefined), remote.redisUrl('redis://given')]).toEqual(['redis://there', 'redis://given']);
  });

  test('is told: each with where it came from', () => {
    const data = new DataFolder(folder, { COUNTERSIGN_KEYRING: '/etc/keyring.json' });
    data.keyring();
    data.catalog();
    expect(data.taken).toEqual([
      { what: 'COUNTERSIGN_KEYRING', from: '/etc/keyring.json' },
      { what: 'COUNTERSIGN_CATALOG', from: `${join(folder, 'models.json')}, as the variable is not set` },
    ]);
  });
});

describe('the Redis user of a command', () => {
  const login = (environment: Record<string, string>, user: string) => new DataFolder(folder, environment).login(user);

  test("is that of the role's environment where it has the rights, and else that of the folder", () => {
    const api = { ...PASSWORD, COUNTERSIGN_TICKET_KEY_FILE: '/k' };
    expect(login(api, 'api')).toEqual({ user: 'api', password: 'of environment' });
    expect(login(api, 'admin')).toEqual({ user: 'admin', password: 'of redis-admin' });
    expect(login({ ...PASSWORD, COUNTERSIGN_REDIS_USER: 'admin' }, 'attestor').user).toBe('admin');
    expect(login({}, 'api')).toEqual({ user: 'api', password: 'of redis-api' });
  });

  test('is refused with whose environment it is, where neither has it', () => {
    expect(() => login({ ...PASSWORD, COUNTERSIGN_TICKET_KEY_FILE: '/k' }, 'attestor')).toThrow(
      'This needs the Redis user attestor, and the environment is that of api.',
    );
  });

  test.each([
    [{ COUNTERSIGN_WORKER_KEY_FILE: '/k', COUNTERSIGN_POOL: 'gpu' }, 'worker', 'worker.gpu'],
    [{ COUNTERSIGN_WORKER_KEY_FILE: '/k' }, 'worker', 'worker.default'],
    [{ COUNTERSIGN_POOL: 'gpu' }, 'gateway', 'worker.gpu'],
    [{ COUNTERSIGN_ATTESTOR_KEY_FILE: '/k' }, 'attestor', 'attestor'],
    [{ COUNTERSIGN_TICKET_KEY_FILE: '/k' }, 'api', 'api'],
    [{ COUNTERSIGN_TICKET_KEY_FILE: '/k', COUNTERSIGN_WEBHOOK_SCHEDULE: '0' }, 'courier', 'api'],
    [{ COUNTERSIGN_TICKET_KEY_FILE: '/k', COUNTERSIGN_METRICS_PORT: '9464' }, 'courier', 'api'],
    [{ COUNTERSIGN_REDIS_USER: 'other' }, undefined, 'other'],
    [{}, undefined, undefined],
  ])('%j is the environment of %s, as %s', (environment, role, user) => {
    expect([roleOf(environment), userOf(environment)]).toEqual([role, user]);
  });
});
