import type { Command } from 'commander';
import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { SCOPES, type Scope } from '../../surfaces/tenants/api-key.ts';
import { ApiKeys, type ApiKeyFacts } from '../../surfaces/tenants/api-key.store.ts';
import { AuditLog } from '../../core/audit/audit-log.ts';
import { NO_LIMITS } from '../../surfaces/tenants/limits.ts';
import { Tenants } from '../../surfaces/tenants/tenant.store.ts';
import type { OpenWork } from '../../surfaces/tenants/work-stops.ts';
import type { RemoteOptions } from './caller-context.ts';
import type { CliContext } from './cli-context.ts';
import { workOption } from './work-option.ts';
import { limited, limitsOf, type LimitFlags } from './limit-options.ts';
import { Output, jsonOption } from './output.ts';

/** Whom the audit log names for changes made from the command line. */
const ACTOR = 'cli';

interface RedisOptions {
  readonly redisUrl?: string;
  readonly json?: boolean;
}

/** `countersign keys api …`. API keys are in Redis; these commands use the API's own Redis user. */
export function addApiKeyCommands(cli: CliContext, keys: Command): void {
  const apiKeys = keys.command('api').description('API keys: create, list, rotate, revoke');
  const withApiKeys: WithApiKeys = ({ redisUrl }, use) =>
    cli.withRedis('api', redisUrl, (redis) => {
      const names = new RedisKeys(cli.data.shard);
      return use({ keys: new ApiKeys(redis, names), tenants: new Tenants(redis, names, new AuditLog(redis, names)) });
    });
  addCreate(apiKeys, withApiKeys);
  addList(apiKeys, withApiKeys);
  addRotate(apiKeys, withApiKeys);
  addRevoke(apiKeys, withApiKeys);
  addWork(cli, apiKeys);
}

interface Stores {
  readonly keys: ApiKeys;
  readonly tenants: Tenants;
}
type WithApiKeys = <T>(options: RedisOptions, use: (stores: Stores) => Promise<T>) => Promise<T>;

interface CreateOptions extends RedisOptions, LimitFlags {
  readonly newTenant?: boolean;
  readonly tenant: string;
  readonly scopes: string;
  readonly name?: string;
  readonly expires?: string;
}

function addCreate(apiKeys: Command, withApiKeys: WithApiKeys): void {
  limited(apiKeys.command('create'), 'key')
    .description('make an API key; it is shown once')
    .requiredOption('--tenant <name>', 'tenant')
    .option('--scopes <list>', `comma-separated scopes: ${SCOPES.join(', ')}`, 'submit,read')
    .option('--name <text>', 'what it is for')
    .option('--expires <time>', 'when it stops working, ISO 8601')
    .option('--new-tenant', 'make the tenant, which must not exist yet')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: CreateOptions) => {
      if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(options.tenant))
        throw new CodedError('request_invalid', 'A tenant is named with lower-case letters, digits and hyphens.');
      const scopes = scopesOf(options.scopes);
      const expiresAt = options.expires === undefined ? undefined : expiryOf(options.expires);
      const limits = limitsOf(options);
      const { tenant, name } = options;
      const { text, keyId } = await withApiKeys(options, async ({ keys: store, tenants }) => {
        if (options.newTenant === true) await tenants.create(ACTOR, tenant, NO_LIMITS);
        else await requireTenant(tenants, tenant);
        return store.create(ACTOR, { tenant, scopes, name, expiresAt, limits });
      });
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
      const keys = await withApiKeys(options, (stores) => stores.keys.list());
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
      const { text, keyId } = await withApiKeys(options, (stores) => stores.keys.rotate(ACTOR, id, seconds * 1_000));
      new Output(options.json === true).show({ id: keyId, key: text }, [text]);
    });
}

function addRevoke(apiKeys: Command, withApiKeys: WithApiKeys): void {
  apiKeys
    .command('revoke')
    .description('revoke an API key; it stops working everywhere within seconds')
    .argument('<id>', 'id of the key')
    .addOption(workOption('keep'))
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (id: string, options: RedisOptions & { work: OpenWork }) => {
      await withApiKeys(options, (stores) => stores.keys.revoke(ACTOR, id, options.work));
      new Output(options.json === true).show({ revoked: id, work: options.work }, [
        `revoked ${id}; what it made: countersign keys api work ${id}`,
      ]);
    });
}

/** What is shown of the answer of the API. */
const KeyWork = z.object({
  jobs: z.array(z.object({ id: z.string(), state: z.string(), model: z.string(), created_at: z.string() })),
  next_cursor: z.string().nullable(),
  batches: z.array(z.object({ id: z.string(), status: z.string(), created_at: z.string() })),
  files: z.array(z.object({ id: z.string(), bytes: z.number(), created_at: z.string() })),
});

/** What a key made, as the API lists it: by a key of the scope `operator`. */
function addWork(cli: CliContext, apiKeys: Command): void {
  cli
    .remote('work', 'list what an API key made; needs an API key of the scope operator', apiKeys)
    .argument('<id>', 'id of the key')
    .action(async (id: string, options: RemoteOptions) => {
      const path = `/v1/admin/keys/${encodeURIComponent(id)}/work?limit=100`;
      const work = KeyWork.parse(await cli.client(options).json(path));
      new Output(options.json === true).show(work, [
        ...work.jobs.map((job) => `${job.id}  ${job.state}  ${job.model}  ${job.created_at}`),
        ...work.batches.map((batch) => `${batch.id}  ${batch.status}  ${batch.created_at}`),
        ...work.files.map((file) => `${file.id}  ${file.bytes} bytes  ${file.created_at}`),
        ...(work.next_cursor === null ? [] : ['and older jobs']),
      ]);
    });
}

/** A key of a tenant that nobody made would have no limits, and no command could lock it out. */
async function requireTenant(tenants: Tenants, name: string): Promise<void> {
  if ((await tenants.find(name)) !== undefined) return;
  throw new CodedError('tenant_not_found', `There is no tenant ${name}.`, {
    hint: `make it with countersign tenants create ${name}, or here and now with --new-tenant`,
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
