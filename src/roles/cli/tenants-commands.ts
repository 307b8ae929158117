import type { Command } from 'commander';
import { z } from 'zod';
import type { RemoteOptions } from './caller-context.ts';
import type { CliContext } from './cli-context.ts';
import { limited, tenantLimitsOf, type LimitFlags } from './limit-options.ts';
import { Output } from './output.ts';
import type { OpenWork } from '../../surfaces/tenants/work-stops.ts';
import { workOption } from './work-option.ts';

const PATH = '/v1/admin/tenants';

interface TenantDocument {
  readonly name: string;
  readonly created_at: string;
  readonly disabled_at: string | null;
  readonly limits: Record<string, number>;
}

type LimitOptions = RemoteOptions & LimitFlags;

/** `countersign tenants …`, by an API key of the scope `operator`. */
export function addTenantsCommands(cli: CliContext): void {
  const tenants = cli.program
    .command('tenants')
    .description('tenants and their limits; needs an API key of the scope operator');
  addCreate(cli, tenants);
  addList(cli, tenants);
  addLimit(cli, tenants);
  addDisable(cli, tenants);
  addEnable(cli, tenants);
  addDelete(cli, tenants);
}

function addCreate(cli: CliContext, tenants: Command): void {
  limited(cli.remote('create', 'make a tenant', tenants), 'tenant')
    .argument('<name>', 'lower-case letters, digits and hyphens')
    .action(async (name: string, options: LimitOptions) => {
      const made = await cli.client(options).json(PATH, 'POST', { name, limits: tenantLimitsOf(options) });
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
  limited(cli.remote('limit', 'replace the limits of a tenant; what is not named is not limited', tenants), 'tenant')
    .argument('<name>', 'tenant')
    .action(async (name: string, options: LimitOptions) =>
      change(cli, name, options, { limits: tenantLimitsOf(options) }),
    );
}

function addDisable(cli: CliContext, tenants: Command): void {
  cli
    .remote('disable', 'lock out the API keys of a tenant, and say what becomes of its open work', tenants)
    .argument('<name>', 'tenant')
    .addOption(workOption('drain'))
    .action(async (name: string, options: RemoteOptions & { work: OpenWork }) =>
      change(cli, name, options, { disabled: true, work: options.work }),
    );
}

function addEnable(cli: CliContext, tenants: Command): void {
  cli
    .remote('enable', 'let a tenant in again', tenants)
    .argument('<name>', 'tenant')
    .action(async (name: string, options: RemoteOptions) => change(cli, name, options, { disabled: false }));
}

/** What the API says of a deletion. */
const Deletion = z.object({
  status: z.enum(['deleting', 'deleted']),
  step: z.string().nullable(),
  account: z.object({ payload: z.string() }).loose().nullable(),
});

function addDelete(cli: CliContext, tenants: Command): void {
  cli
    .remote('delete', 'delete a tenant and all that is its, but for the books; asked again, how far it is', tenants)
    .argument('<name>', 'tenant')
    .requiredOption('--yes', 'it cannot be taken back')
    .action(async (name: string, options: RemoteOptions) => {
      const deletion: unknown = await cli.client(options).json(`${PATH}/${encodeURIComponent(name)}`, 'DELETE');
      const { status, step, account } = Deletion.parse(deletion);
      new Output(options.json === true).show(deletion, [
        `${name}  ${status}${step === null ? '' : `, at ${step}`}`,
        ...(account === null ? [] : [Buffer.from(account.payload, 'base64').toString('utf8')]),
      ]);
    });
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
