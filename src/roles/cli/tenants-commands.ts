import type { Command } from 'commander';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { auditLedger } from '../../surfaces/ledger/ledger-audit.ts';
import { createLogger } from '../../ground/logging/logger.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { openRedis, whenReady } from '../../ground/redis/connection.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import type { ApiClient } from './api-client.ts';
import { Output, jsonOption } from './output.ts';
import { SHARD, passwordOf, type DataFolder } from './set-up.ts';

interface RemoteOptions {
  readonly url?: string;
  readonly keyFile?: string;
  readonly json?: boolean;
}
interface TenantDocument {
  readonly name: string;
  readonly created_at: string;
  readonly disabled_at: string | null;
  readonly limits: Record<string, number>;
}
interface LimitOptions extends RemoteOptions {
  readonly requests?: number;
  readonly tokens?: number;
  readonly jobs?: number;
  readonly spend?: number;
}

/** `countersign tenants …`, `countersign usage` and `countersign ledger …`. */
export function addTenantsCommands(
  program: Command,
  remote: (name: string, description: string, parent: Command) => Command,
  data: () => DataFolder,
  client: (options: RemoteOptions) => ApiClient,
  redisUrl: (given: string | undefined) => string,
  number: (text: string) => number,
): void {
  const tenants = program.command('tenants').description('tenants and their limits, with a key of the scope admin');
  const limited = (command: Command) =>
    command
      .option('--requests <n>', 'requests a minute', number)
      .option('--tokens <n>', 'tokens a minute', number)
      .option('--jobs <n>', 'open jobs at once', number)
      .option('--spend <n>', 'what may be spent in all, in millionths of the currency', number);

  limited(remote('create', 'make a tenant', tenants))
    .argument('<name>', 'lower-case letters, digits and hyphens')
    .action(async (name: string, options: LimitOptions) => {
      const made = await client(options).json('/v1/admin/tenants', 'POST', { name, limits: limitsOf(options) });
      show(options, made as TenantDocument);
    });
  remote('list', 'all tenants', tenants).action(async (options: RemoteOptions) => {
    const all = (await client(options).json('/v1/admin/tenants')) as { tenants: TenantDocument[] };
    new Output(options.json === true).show(all, all.tenants.map(lineOf));
  });
  limited(remote('limit', 'give a tenant other limits; what is not named is not limited', tenants))
    .argument('<name>', 'tenant')
    .action(async (name: string, options: LimitOptions) => {
      const path = `/v1/admin/tenants/${encodeURIComponent(name)}`;
      show(options, (await client(options).json(path, 'PATCH', { limits: limitsOf(options) })) as TenantDocument);
    });
  for (const [word, disabled] of [
    ['disable', true],
    ['enable', false],
  ] as const)
    remote(word, disabled ? 'lock out the keys of a tenant; its jobs go on' : 'let a tenant in again', tenants)
      .argument('<name>', 'tenant')
      .action(async (name: string, options: RemoteOptions) => {
        const path = `/v1/admin/tenants/${encodeURIComponent(name)}`;
        show(options, (await client(options).json(path, 'PATCH', { disabled })) as TenantDocument);
      });

  remote('usage', 'jobs, tokens and charges of the tenant of the key', program)
    .option('--from <day>', 'first day, such as 2026-11-01; today where absent')
    .option('--to <day>', 'last day; today where absent')
    .option('--by <list>', 'some of day, key, model, parted by commas', 'model')
    .action(async (options: RemoteOptions & { from?: string; to?: string; by: string }) => {
      const query = new URLSearchParams({ group_by: options.by });
      if (options.from !== undefined) query.set('from', options.from);
      if (options.to !== undefined) query.set('to', options.to);
      const usage = (await client(options).json(`/v1/usage?${query.toString()}`)) as {
        rows: (Record<string, string | number> & { jobs: number; done: number })[];
        account: { spent: number; held: number };
      };
      new Output(options.json === true).show(usage, [
        ...usage.rows.map(
          ({ day, key, model, jobs, done, input_tokens, output_tokens, charged }) =>
            `${[day, key, model].filter((part) => part !== undefined).join('  ')}  ${jobs} jobs (${done} done)  ${String(input_tokens)} + ${String(output_tokens)} tokens  charged ${String(charged)}`,
        ),
        `spent ${usage.account.spent}, held ${usage.account.held} (millionths)`,
      ]);
    });

  program
    .command('ledger')
    .description('what was held, charged and released')
    .command('check')
    .description('compare the ledger with the accounts and with the receipts that are still kept')
    .option('--tenant <name>', 'one tenant; all that have a key where absent')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: { tenant?: string; redisUrl?: string; json?: boolean }) => {
      const redis = openRedis(
        { url: redisUrl(options.redisUrl), user: 'api', password: passwordOf(data(), 'api') },
        'prompt',
        createLogger('ledger', 'error'),
      );
      try {
        await whenReady(redis, 3_000).catch((cause: unknown) => {
          throw new CodedError('storage_unavailable', `Redis does not answer: ${messageOf(cause)}.`, {
            cause,
            hint: 'start it with: countersign up',
          });
        });
        const keys = new RedisKeys(SHARD);
        const parts = { redis, keys, usage: new UsageStore(redis, keys), keyring: readKeyring(data().keyring()) };
        const names =
          options.tenant === undefined
            ? [...new Set((await new ApiKeys(redis, keys).list()).map(({ tenant }) => tenant))]
            : [options.tenant];
        const audits = [];
        for (const name of names) audits.push(await auditLedger(parts, name));
        new Output(options.json === true).show(
          { audits },
          audits.flatMap(({ tenant, entries, compared, spent, held, problems }) => [
            `${problems.length === 0 ? 'ok  ' : 'BAD '} ${tenant}: ${entries} entries, spent ${spent}, held ${held}, ${compared} charges compared with receipts`,
            ...problems.map((problem) => `     ${problem}`),
          ]),
        );
        if (audits.some(({ problems }) => problems.length > 0)) process.exitCode = 7;
      } finally {
        redis.disconnect();
      }
    });
}

function limitsOf({ requests, tokens, jobs, spend }: LimitOptions): Record<string, number> {
  return {
    ...(requests === undefined ? {} : { requests_per_minute: requests }),
    ...(tokens === undefined ? {} : { tokens_per_minute: tokens }),
    ...(jobs === undefined ? {} : { concurrent_jobs: jobs }),
    ...(spend === undefined ? {} : { spend }),
  };
}

function show(options: RemoteOptions, tenant: TenantDocument): void {
  new Output(options.json === true).show(tenant, [lineOf(tenant)]);
}

function lineOf({ name, disabled_at, limits }: TenantDocument): string {
  const bounds = Object.entries(limits).map(([what, most]) => `${what} ${most}`);
  return `${name}  ${disabled_at === null ? 'enabled' : `disabled ${disabled_at}`}  ${bounds.join(', ') || 'no limits'}`;
}
