import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ensureSigningKey, writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { Keyring, keyringEntry, type KeyringFile } from '../../src/proof/receipts/keyring.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { formatVkey, noteKey } from '../../src/proof/tlog/signed-note.ts';
import { DataFolder } from '../../src/roles/cli/data-folder.ts';
import { BalancedClient } from '../support/balanced-client.ts';
import { Callers } from '../support/failover.ts';
import { Pipeline, type Role } from '../support/pipeline.ts';
import { PASSWORD, ROOT } from '../support/redis.ts';

describe('a rotation of keys and passwords while jobs are sent all along', () => {
  let pipeline: Pipeline;
  let data: DataFolder;
  let client: BalancedClient;
  let callers: Callers;
  const roles = new Map<string, Role>();
  const users = ['api', 'attestor', 'worker.default'];
  const keyFiles = {
    COUNTERSIGN_TICKET_KEY_FILE: 'api.key',
    COUNTERSIGN_ATTESTOR_KEY_FILE: 'attestor.key',
    COUNTERSIGN_TLOG_KEY_FILE: 'log.key',
    COUNTERSIGN_SECRETS_KEY_FILES: 'secrets.key',
  };

  beforeAll(async () => {
    pipeline = await Pipeline.prepare();
    data = new DataFolder(join(pipeline.folder, 'installation'));
    mkdirSync(data.at('keys'), { recursive: true });
    for (const user of [...users, 'admin']) writeSecretFile(data.redisPassword(user), PASSWORD);
    client = new BalancedClient('', await pipeline.key());
    for (const name of ['api-1', 'api-2', 'attestor-1', 'attestor-2', 'worker-1']) await start(name);
    callers = new Callers(client, 'rotation');
    await callers.more(10);
  });
  afterAll(async () => pipeline[Symbol.asyncDispose]());

  async function start(name: string): Promise<void> {
    const [kind = '', number = '1'] = name.split('-');
    const user = kind === 'worker' ? 'worker.default' : kind;
    const own = Object.entries(keyFiles).filter(
      ([variable]) => /_TICKET_|_SECRETS_/.test(variable) === (kind === 'api'),
    );
    const paths = (files: string) => files.split(',').map((file) => join(pipeline.folder, file));
    const env = {
      COUNTERSIGN_REDIS_PASSWORD_FILE: data.redisPassword(user),
      ...(kind === 'worker' ? {} : Object.fromEntries(own.map(([name, files]) => [name, paths(files).join(',')]))),
    };
    const role = await (kind === 'worker'
      ? pipeline.worker(Number(number), env)
      : kind === 'attestor'
        ? pipeline.attestor(env)
        : pipeline.api(env));
    roles.set(name, role);
    if (kind === 'api') client.urls.set(name, String(role.facts['url']));
  }

  /** Ends and starts these processes one after the other, as a deployment does. */
  async function restart(...kinds: string[]): Promise<void> {
    for (const [name, role] of [...roles]) {
      if (!kinds.includes(name.split('-')[0] ?? '')) continue;
      client.urls.delete(name);
      role.process.kill('SIGTERM');
      expect([name, await role.exited]).toEqual([name, 0]);
      await start(name);
      await callers.more(2);
    }
  }

  const passwordOf = (user: string) => readFileSync(data.redisPassword(user), 'utf8').trim();
  const keyringPath = () => join(pipeline.folder, 'keyring.json');
  const keyringFile = () => JSON.parse(readFileSync(keyringPath(), 'utf8')) as KeyringFile;
  const change = (keys: (old: KeyringFile['keys']) => KeyringFile['keys']) =>
    writeFileSync(keyringPath(), JSON.stringify({ ...keyringFile(), keys: keys(keyringFile().keys) }));
  const countersign = (...args: string[]) =>
    promisify(execFile)(
      process.execPath,
      [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), '--data', data.path, ...args, '--redis', pipeline.redis.url],
      {
        env: {
          PATH: process.env['PATH'] ?? '',
          HOME: pipeline.folder,
          COUNTERSIGN_SECRETS_KEY_FILES: ['secrets-2.key', 'secrets.key']
            .map((file) => join(pipeline.folder, file))
            .join(','),
        },
      },
    );

  test('refuses nothing, and leaves no receipt that does not verify', async () => {
    const [ticketKey, attestorKey, logKey] = ['api', 'attestor', 'log'].map((name) =>
      ensureSigningKey(join(pipeline.folder, `${name}-2.key`)),
    );
    if (ticketKey === undefined || attestorKey === undefined || logKey === undefined)
      throw new Error('There is no key.');
    const passwords = new Map(users.map((user) => [user, passwordOf(user)]));

    // Both are trusted and both are accepted, before either is used.
    const now = new Date().toISOString();
    change((old) => [
      ...old,
      keyringEntry('api', ticketKey.public, now),
      keyringEntry('attestor', attestorKey.public, now),
    ]);
    const line = `log ${formatVkey(noteKey('countersign.test/log', 'ed25519', logKey.public))}`;
    writeFileSync(
      keyringPath(),
      JSON.stringify({ ...keyringFile(), logPolicy: `${line}\n${keyringFile().logPolicy}` }),
    );
    for (const user of users) await countersign('keys', 'redis', 'new', user);
    for (const [user, password] of passwords) expect(await login(user, password)).toBe('OK');
    ensureSigningKey(join(pipeline.folder, 'secrets-2.key'));
    const secret = await client.json('/v1/webhooks/default/secret');
    keyFiles.COUNTERSIGN_SECRETS_KEY_FILES = 'secrets.key,secrets-2.key';
    await restart('worker', 'attestor', 'api');

    keyFiles.COUNTERSIGN_TICKET_KEY_FILE = 'api-2.key';
    keyFiles.COUNTERSIGN_ATTESTOR_KEY_FILE = 'attestor-2.key';
    keyFiles.COUNTERSIGN_TLOG_KEY_FILE = 'log-2.key';
    keyFiles.COUNTERSIGN_SECRETS_KEY_FILES = 'secrets-2.key,secrets.key';
    await restart('attestor', 'api');

    await countersign('keys', 'reseal');
    keyFiles.COUNTERSIGN_SECRETS_KEY_FILES = 'secrets-2.key';
    await restart('api');
    expect(await client.json('/v1/webhooks/default/secret')).toEqual(secret);

    const ended = new Date().toISOString();
    const old = [pipeline.apiKey.public.id, pipeline.attestorKey.public.id];
    change((keys) => keys.map((entry) => (old.includes(entry.id) ? { ...entry, notAfter: ended } : entry)));
    for (const user of users) await countersign('keys', 'redis', 'retire', user);
    for (const [user, password] of passwords) {
      await expect(login(user, password)).rejects.toThrow(/WRONGPASS/);
      expect(await login(user, passwordOf(user))).toBe('OK');
    }
    await callers.more(10);
    await callers.stop();

    const keyring = new Keyring(keyringFile());
    for (const id of callers.accepted) {
      const job = await client.ended(id);
      expect([id, job.state]).toEqual([id, 'done']);
      verifyReceipt(await client.receipt(id), keyring);
    }
    expect([...callers.refused.keys()].filter((status) => status !== 0)).toEqual([]);
    expect(new Set(callers.accepted).size).toBe(callers.accepted.length);
  });

  test('of a user that Redis does not have is refused, and makes none', async () => {
    await expect(countersign('keys', 'redis', 'new', 'worker.nobody')).rejects.toMatchObject({ code: 2 });
    expect(await pipeline.redis.client().acl('USERS')).not.toContain('worker.nobody');
  });

  /** What Redis answers to this login, on a connection that is somebody else's. */
  async function login(user: string, password: string): Promise<string> {
    const redis = pipeline.redis.client();
    try {
      return await redis.auth(user, password);
    } finally {
      redis.disconnect();
    }
  }
});
