import { once } from 'node:events';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Redis } from 'ioredis';
import { BlobFolders } from '../../ground/blobs/blob-folders.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { JobReader } from '../../core/jobs/job.reader.ts';
import { auditLedgers, type LedgerAudit } from '../../surfaces/ledger/ledger-audit.ts';
import { EnteredEnds } from '../../surfaces/ledger/entered-ends.ts';
import { monthOf } from '../../surfaces/ledger/ledger-entry.ts';
import { FORMATS, type Format } from '../../surfaces/ledger/ledger-lines.ts';
import { ClosedPeriods } from '../../surfaces/ledger/closed-periods.store.ts';
import { Ledgers } from '../../surfaces/ledger/ledgers.ts';
import { UsageStore } from '../../surfaces/ledger/usage.store.ts';
import { ApiKeys } from '../../surfaces/tenants/api-key.store.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

const EXIT_UNSOUND = 7;

/** `countersign ledger check` and `export`. */
export function addLedgerCommands(cli: CliContext): void {
  const ledger = cli.program.command('ledger').description('what was charged and released');
  addCheck(cli, ledger);
  addExport(cli, ledger);
}

/** Exit code 7 if a ledger does not balance. */
function addCheck(cli: CliContext, ledger: Command): void {
  ledger
    .command('check')
    .description('compare the ledger with the accounts, and with the receipts that Redis or the archive has')
    .option('--tenant <name>', 'one tenant; by default all that have an API key')
    .option('--redis-url <url>', 'Redis address')
    .addOption(jsonOption())
    .action(async (options: CheckOptions & { redisUrl?: string; json?: boolean }) => {
      const audits = await cli.withRedis('api', options.redisUrl, (redis) => auditAll(cli, redis, options));
      new Output(options.json === true).show({ audits }, audits.flatMap(linesOf));
      if (audits.some(({ problems }) => problems.length > 0)) process.exitCode = EXIT_UNSOUND;
    });
}

interface CheckOptions {
  readonly tenant?: string;
}

interface ExportOptions {
  readonly tenant: string;
  readonly month: string;
  readonly format: Format;
  readonly redisUrl?: string;
}

/** Writes to the standard output, a page at a time. */
function addExport(cli: CliContext, ledger: Command): void {
  ledger
    .command('export')
    .description("write the entries of a tenant's ledger in a month; a tenant itself asks GET /v1/ledger")
    .requiredOption('--tenant <name>', 'whose ledger')
    .option('--month <month>', 'such as 2026-11, UTC', monthArgument, monthOf(Date.now()))
    .addOption(new Option('--format <format>', 'JSON Lines, or CSV').choices(FORMATS).default('jsonl'))
    .option('--redis-url <url>', 'Redis address')
    .action(({ tenant, month, format, redisUrl }: ExportOptions) =>
      cli.withRedis('api', redisUrl, async (redis) => {
        const { ledgers } = openLedgers(cli, redis);
        for await (const text of ledgers.text(tenant, month, format))
          if (!process.stdout.write(text)) await once(process.stdout, 'drain');
      }),
    );
}

function openLedgers(cli: CliContext, redis: Redis) {
  const keys = new RedisKeys(cli.data.shard);
  const usage = new UsageStore(redis, keys);
  const closed = new ClosedPeriods(redis, keys, new BlobFolders(cli.data.blobs(), cli.data.storage()));
  return { usage, closed, ledgers: new Ledgers(usage, closed) };
}

function monthArgument(text: string): string {
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return text;
  throw new InvalidArgumentError('a month is written as 2026-11.');
}

async function auditAll(cli: CliContext, redis: Redis, { tenant }: CheckOptions): Promise<LedgerAudit[]> {
  const keys = new RedisKeys(cli.data.shard);
  const bar = new ProgressBar('entries and receipts', undefined);
  let read = 0;
  const parts = {
    hasRead: (more: number) => bar.at((read += more)),
    reader: new JobReader(redis, keys, keys.open),
    archive: new JobArchive(cli.data.storage().files(cli.data.log())),
    ends: new EnteredEnds(redis, keys),
    ...openLedgers(cli, redis),
    keyring: readKeyring(cli.data.keyring()),
  };
  const tenants =
    tenant === undefined ? (await new ApiKeys(redis, keys).list()).map((apiKey) => apiKey.tenant) : [tenant];
  return auditLedgers(parts, [...new Set(tenants)]).finally(() => bar.end());
}

function linesOf({ tenant, entries, compared, sums, problems }: LedgerAudit): string[] {
  const verdict = problems.length === 0 ? 'ok  ' : 'BAD ';
  const money = sums.map(({ currency, spent, held }) => `spent ${spent} and held ${held} ${currency}, `).join('');
  return [
    `${verdict} ${tenant}: ${entries} entries, ${money}${compared} charges compared with receipts`,
    ...problems.map((problem) => `     ${problem}`),
  ];
}
