import type { Command } from 'commander';
import type { RemoteOptions } from './caller-context.ts';
import type { CliContext } from './cli-context.ts';
import { limited, limitsOf, type LimitFlags } from './limit-options.ts';
import { Output } from './output.ts';

const PATH = '/v1/admin/tenants';

interface TenantDocument {
  readonly name: string;
  readonly created_at: string;
  readonly disabled_at: string | null;
  readonly limits: Record<string, number>;
}

type LimitOptions = RemoteOptions & LimitFlags;

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

function show(options: RemoteOptions, tenant: TenantDocument): void {
  new Output(options.json === true).show(tenant, [lineOf(tenant)]);
}

function lineOf({ name, disabled_at, limits }: TenantDocument): string {
  const bounds = Object.entries(limits).map(([what, max]) => `${what} ${max}`);
  return `${name}  ${disabled_at === null ? 'enabled' : `disabled ${disabled_at}`}  ${bounds.join(', ') || 'no limits'}`;
}
