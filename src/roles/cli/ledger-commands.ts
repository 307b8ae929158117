import type { Redis } from 'ioredis';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { ArchivedJobs } from '../../core/jobs/archived-jobs.ts';
import { JobArchive, archiveFolder } from '../../core/jobs/job-archive.ts';
import { JobReader } from '../../core/jobs/job.reader.ts';
import { auditLedger, type LedgerAudit } from '../../surfaces/ledger/ledger-audit.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';

const EXIT_UNSOUND = 7;

/** `countersign ledger check`: exit code 7 if a ledger does not balance. */
export function addLedgerCommands(cli: CliContext): void {
  cli.program
    .command('ledger')
    .description('what was held, charged and released')
    .command('check')
    .description('compare the ledger with the accounts and with the receipts that are still kept')
    .option('--tenant <name>', 'one tenant; by default all that have an API key')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: { tenant?: string; redisUrl?: string; json?: boolean }) => {
      const audits = await cli.withRedis('api', options.redisUrl, (redis) => auditAll(cli, redis, options.tenant));
      new Output(options.json === true).show({ audits }, audits.flatMap(linesOf));
      if (audits.some(({ problems }) => problems.length > 0)) process.exitCode = EXIT_UNSOUND;
    });
}

async function auditAll(cli: CliContext, redis: Redis, tenant: string | undefined): Promise<LedgerAudit[]> {
  const keys = new RedisKeys(cli.data.shard);
  const archived = new ArchivedJobs(new JobArchive(archiveFolder(cli.data.log())));
  const parts = {
    reader: new JobReader(redis, keys, keys.open, archived),
    usage: new UsageStore(redis, keys),
    keyring: readKeyring(cli.data.keyring()),
  };
  const tenants =
    tenant === undefined ? (await new ApiKeys(redis, keys).list()).map((apiKey) => apiKey.tenant) : [tenant];
  const audits: LedgerAudit[] = [];
  for (const name of new Set(tenants)) audits.push(await auditLedger(parts, name));
  return audits;
}

function linesOf({ tenant, entries, compared, spent, held, problems }: LedgerAudit): string[] {
  const verdict = problems.length === 0 ? 'ok  ' : 'BAD ';
  return [
    `${verdict} ${tenant}: ${entries} entries, spent ${spent}, held ${held}, ${compared} charges compared with receipts`,
    ...problems.map((problem) => `     ${problem}`),
  ];
}
