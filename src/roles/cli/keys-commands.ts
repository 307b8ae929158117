import type { Command } from 'commander';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readSigningKey, writeSecretFile } from '../../ground/keys/key-file.ts';
import { generateSigningKeyPem, signingKeyFromPem, workerIdOf } from '../../ground/keys/signing-key.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { openRedis, whenReady } from '../../ground/redis/connection.ts';
import { SCOPES, type Scope } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import { Output, jsonOption } from './output.ts';
import { SHARD, passwordOf, type DataFolder } from './set-up.ts';

/** `countersign keys …`: signing keys in files, and API keys in Redis. */
export function addKeysCommands(
  program: Command,
  data: () => DataFolder,
  redisUrl: (given: string | undefined) => string,
): void {
  const keysCommand = program.command('keys').description('signing keys and API keys');
  keysCommand
    .command('new')
    .description('make a signing key; prints its public half')
    .argument('<file>', 'file to write, readable by its owner only')
    .addOption(jsonOption())
    .action((file: string, options: { json?: boolean }) => {
      const pem = generateSigningKeyPem();
      try {
        writeSecretFile(file, pem);
      } catch (cause) {
        throw new CodedError('key_file_unfit', `${file} cannot be written: ${messageOf(cause)}.`, { cause });
      }
      showKey(signingKeyFromPem(pem).public, new Output(options.json === true));
    });
  keysCommand
    .command('show')
    .description('print the public half of a signing key')
    .argument('<file>', 'key file')
    .addOption(jsonOption())
    .action((file: string, options: { json?: boolean }) =>
      showKey(readSigningKey(file).public, new Output(options.json === true)),
    );

  const apiKeys = keysCommand.command('api').description('API keys: create, list, revoke');

  /** API keys live in Redis; these commands use the API's own Redis user. */
  async function withApiKeys<T>(options: { redisUrl?: string }, use: (keys: ApiKeys) => Promise<T>): Promise<T> {
    const redis = openRedis(
      { url: redisUrl(options.redisUrl), user: 'api', password: passwordOf(data(), 'api') },
      'prompt',
      createLogger('keys', 'error'),
    );
    try {
      await whenReady(redis, 3_000).catch((cause: unknown) => {
        throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, {
          cause,
          hint: 'start it with: countersign up',
        });
      });
      return await use(new ApiKeys(redis, new RedisKeys(SHARD)));
    } finally {
      redis.disconnect();
    }
  }

  apiKeys
    .command('create')
    .description('make an API key; it is shown once')
    .requiredOption('--tenant <name>', 'tenant')
    .option('--scopes <list>', 'scopes parted by commas', 'submit,read')
    .option('--name <text>', 'what it is for')
    .option('--expires <time>', 'when it stops working, ISO 8601')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(
      async (options: {
        tenant: string;
        scopes: string;
        name?: string;
        expires?: string;
        redisUrl?: string;
        json?: boolean;
      }) => {
        if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(options.tenant))
          throw new CodedError('request_invalid', 'A tenant is named with lower-case letters, digits and hyphens.');
        const scopes = options.scopes.split(',').map((scope) => scope.trim());
        const known = scopes.filter((scope): scope is Scope => (SCOPES as readonly string[]).includes(scope));
        if (known.length !== scopes.length)
          throw new CodedError('request_invalid', `The scopes are ${SCOPES.join(', ')}.`);
        const { text, keyId } = await withApiKeys(options, (keys) =>
          keys.create('cli', {
            tenant: options.tenant,
            scopes: known,
            name: options.name,
            expiresAt: options.expires === undefined ? undefined : isoTime(options.expires),
          }),
        );
        new Output(options.json === true).show({ id: keyId, key: text }, [text]);
      },
    );
  apiKeys
    .command('list')
    .description('list API keys, without secrets')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: { redisUrl?: string; json?: boolean }) => {
      const keys = await withApiKeys(options, (all) => all.list());
      new Output(options.json === true).show(
        { keys },
        keys.map(
          (key) =>
            `${key.id}  ${key.tenant}  ${key.scopes.join(',')}  ${key.revokedAt === undefined ? (key.expiresAt === undefined ? 'valid' : `until ${key.expiresAt}`) : `revoked ${key.revokedAt}`}`,
        ),
      );
    });
  apiKeys
    .command('rotate')
    .description('make a new key like this one, which works on for a while; the new one is shown once')
    .argument('<id>', 'id of the key')
    .option('--overlap <seconds>', 'how long both work', '86400')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (id: string, options: { overlap: string; redisUrl?: string; json?: boolean }) => {
      const seconds = Number(options.overlap);
      if (!Number.isInteger(seconds) || seconds < 0)
        throw new CodedError('request_invalid', '--overlap is a whole number of seconds.');
      const { text, keyId } = await withApiKeys(options, (keys) => keys.rotate('cli', id, seconds * 1_000));
      new Output(options.json === true).show({ id: keyId, key: text }, [text]);
    });
  apiKeys
    .command('revoke')
    .description('revoke an API key; it stops working everywhere within seconds')
    .argument('<id>', 'id of the key')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (id: string, options: { redisUrl?: string; json?: boolean }) => {
      await withApiKeys(options, (keys) => keys.revoke('cli', id));
      new Output(options.json === true).show({ revoked: id }, [`revoked ${id}`]);
    });
}

function isoTime(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new CodedError('request_invalid', '--expires is a time such as 2027-01-31T12:00:00Z.');
  return new Date(ms).toISOString();
}

function showKey(key: { id: string; raw: string } & Parameters<typeof workerIdOf>[0], out: Output): void {
  const facts = { id: key.id, publicKey: key.raw, workerId: workerIdOf(key) };
  out.show(facts, [
    `id          ${facts.id}`,
    `public key  ${facts.publicKey}`,
    `as worker   {"id":"${facts.workerId}","publicKey":"${facts.publicKey}"}`,
  ]);
}
