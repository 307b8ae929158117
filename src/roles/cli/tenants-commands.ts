import type { Command } from 'commander';
import { numberOf } from './arguments.ts';
import type { CliContext, RemoteOptions } from './cli-context.ts';
import { Output } from './output.ts';

const PATH = '/v1/admin/tenants';

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

/** `countersign tenants …`, by an API key of the scope `admin`. */
export function addTenantsCommands(cli: CliContext): void {
  const tenants = cli.program
    .command('tenants')
    .description('tenants and their limits; needs an API key of the scope admin');
  addCreate(cli, tenants);
  addList(cli, tenants);
  addLimit(cli, tenants);
  addSwitch(cli, tenants, 'disable', 'lock out the API keys of a tenant; its jobs go on', true);
  addSwitch(cli, tenants, 'enable', 'let a tenant in again', false);
}

function addCreate(cli: CliContext, tenants: Command): void {
  limited(cli.remote('create', 'make a tenant', tenants))
    .argument('<name>', 'lower-case letters, digits and hyphens')
    .action(async (name: string, options: LimitOptions) => {
      const made = await cli.client(options).json(PATH, 'POST', { name, limits: limitsOf(options) });
      show(options, made as TenantDocument);
    });
}

function addList(cli: CliContext, tenants: Command): void {
  cli.remote('list', 'list all tenants', tenants).action(async (options: RemoteOptions) => {
    const all = (await cli.client(options).json(PATH)) as { tenants: TenantDocument[] };
    new Output(options.json === true).show(all, all.tenants.map(lineOf));
  });
}

function addLimit(cli: CliContext, tenants: Command): void {
  limited(cli.remote('limit', 'replace the limits of a tenant; what is not named is not limited', tenants))
    .argument('<name>', 'tenant')
    .action(async (name: string, options: LimitOptions) => change(cli, name, options, { limits: limitsOf(options) }));
}

function addSwitch(cli: CliContext, tenants: Command, word: string, description: string, disabled: boolean): void {
  cli
    .remote(word, description, tenants)
    .argument('<name>', 'tenant')
    .action(async (name: string, options: RemoteOptions) => change(cli, name, options, { disabled }));
}

async function change(cli: CliContext, name: string, options: RemoteOptions, body: object): Promise<void> {
  const changed = await cli.client(options).json(`${PATH}/${encodeURIComponent(name)}`, 'PATCH', body);
  show(options, changed as TenantDocument);
}

function limited(command: Command): Command {
  return command
    .option('--requests <n>', 'requests per minute', numberOf)
    .option('--tokens <n>', 'tokens per minute', numberOf)
    .option('--jobs <n>', 'open jobs at once', numberOf)
    .option('--spend <n>', 'what may be spent in all, in millionths of the currency', numberOf);
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
  const bounds = Object.entries(limits).map(([what, max]) => `${what} ${max}`);
  return `${name}  ${disabled_at === null ? 'enabled' : `disabled ${disabled_at}`}  ${bounds.join(', ') || 'no limits'}`;
}
