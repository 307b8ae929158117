import type { Command } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { SCOPES, type Scope } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys, type ApiKeyFacts } from '../../surfaces/tenants/api-key.store.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { SHARD } from './set-up.ts';

/** Whom the audit log names for changes made from the command line. */
const ACTOR = 'cli';

interface RedisOptions {
  readonly redisUrl?: string;
  readonly json?: boolean;
}

/** `countersign keys api …`. API keys are in Redis; these commands use the API's own Redis user. */
export function addApiKeyCommands(cli: CliContext, keys: Command): void {
  const apiKeys = keys.command('api').description('API keys: create, list, rotate, revoke');
  const withApiKeys = <T>({ redisUrl }: RedisOptions, use: (store: ApiKeys) => Promise<T>): Promise<T> =>
    cli.withRedis('api', redisUrl, (redis) => use(new ApiKeys(redis, new RedisKeys(SHARD))));
  addCreate(apiKeys, withApiKeys);
  addList(apiKeys, withApiKeys);
  addRotate(apiKeys, withApiKeys);
  addRevoke(apiKeys, withApiKeys);
}

type WithApiKeys = <T>(options: RedisOptions, use: (store: ApiKeys) => Promise<T>) => Promise<T>;

interface CreateOptions extends RedisOptions {
  readonly tenant: string;
  readonly scopes: string;
  readonly name?: string;
  readonly expires?: string;
}

function addCreate(apiKeys: Command, withApiKeys: WithApiKeys): void {
  apiKeys
    .command('create')
    .description('make an API key; it is shown once')
    .requiredOption('--tenant <name>', 'tenant')
    .option('--scopes <list>', `comma-separated scopes: ${SCOPES.join(', ')}`, 'submit,read')
    .option('--name <text>', 'what it is for')
    .option('--expires <time>', 'when it stops working, ISO 8601')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: CreateOptions) => {
      if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(options.tenant))
        throw new CodedError('request_invalid', 'A tenant is named with lower-case letters, digits and hyphens.');
      const scopes = scopesOf(options.scopes);
      const expiresAt = options.expires === undefined ? undefined : expiryOf(options.expires);
      const { tenant, name } = options;
      const { text, keyId } = await withApiKeys(options, (store) =>
        store.create(ACTOR, { tenant, scopes, name, expiresAt }),
      );
      new Output(options.json === true).show({ id: keyId, key: text }, [text]);
    });
}

function addList(apiKeys: Command, withApiKeys: WithApiKeys): void {
  apiKeys
    .command('list')
    .description('list API keys, without secrets')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: RedisOptions) => {
      const keys = await withApiKeys(options, (store) => store.list());
      new Output(options.json === true).show(
        { keys },
        keys.map((key) => `${key.id}  ${key.tenant}  ${key.scopes.join(',')}  ${validityOf(key)}`),
      );
    });
}

function addRotate(apiKeys: Command, withApiKeys: WithApiKeys): void {
  apiKeys
    .command('rotate')
    .description('replace a key by a new one, which is shown once; the old one keeps working for a while')
    .argument('<id>', 'id of the key')
    .option('--overlap <seconds>', 'how long both keys work', '86400')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (id: string, options: RedisOptions & { overlap: string }) => {
      const seconds = Number(options.overlap);
      if (!Number.isInteger(seconds) || seconds < 0)
        throw new CodedError('request_invalid', '--overlap is a whole number of seconds.');
      const { text, keyId } = await withApiKeys(options, (store) => store.rotate(ACTOR, id, seconds * 1_000));
      new Output(options.json === true).show({ id: keyId, key: text }, [text]);
    });
}

function addRevoke(apiKeys: Command, withApiKeys: WithApiKeys): void {
  apiKeys
    .command('revoke')
    .description('revoke an API key; it stops working everywhere within seconds')
    .argument('<id>', 'id of the key')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (id: string, options: RedisOptions) => {
      await withApiKeys(options, (store) => store.revoke(ACTOR, id));
      new Output(options.json === true).show({ revoked: id }, [`revoked ${id}`]);
    });
}

function scopesOf(list: string): Scope[] {
  const named = list.split(',').map((scope) => scope.trim());
  const known = named.filter((scope): scope is Scope => SCOPES.some((one) => one === scope));
  if (known.length !== named.length) throw new CodedError('request_invalid', `The scopes are ${SCOPES.join(', ')}.`);
  return known;
}

function expiryOf(text: string): string {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new CodedError('request_invalid', '--expires is a time such as 2027-01-31T12:00:00Z.');
  return new Date(ms).toISOString();
}

function validityOf({ revokedAt, expiresAt }: ApiKeyFacts): string {
  if (revokedAt !== undefined) return `revoked ${revokedAt}`;
  return expiresAt === undefined ? 'valid' : `until ${expiresAt}`;
}
