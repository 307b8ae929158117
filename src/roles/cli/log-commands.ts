import type { Command } from 'commander';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { auditLog, type LogSource } from '../../proof/tlog/log-audit.ts';
import { readBounded } from '../../ground/process/bounded-body.ts';
import { recoverLog } from '../../core/confirmation/log-recovery.ts';
import { KEEP_MS } from '../../core/jobs/job-record.ts';
import { JobArchive } from '../../core/jobs/job-archive.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { LogFiles } from '../../proof/tlog/log-files.ts';
import { LogRefused } from '../../proof/tlog/signed-note.ts';
import { parseTilePath } from '../../proof/tlog/tile.ts';
import { parsePolicy } from '../../proof/tlog/tlog-policy.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { apiUrl } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { ProgressBar } from './progress-bar.ts';
import { type DataFolder } from './data-folder.ts';
import type { FileTree } from '../../ground/blobs/file-tree.ts';

const FETCH_MS = 30_000;
/** The longest file of a log: 256 entries of at most 65,535 bytes, each after its length of two bytes. */
const MAX_FILE_BYTES = 256 * 65_537;

interface RecoverOptions {
  readonly folder?: string;
  readonly keyring?: string;
  readonly redisUrl?: string;
  readonly json?: boolean;
}

interface AuditOptions {
  readonly url?: string;
  readonly folder?: string;
  readonly keyring?: string;
  readonly policy?: string;
  readonly kept?: string;
  readonly json?: boolean;
}

/** `countersign log audit`: exit code 7 if the log is not what was signed. */
export function addLogCommands(cli: CliContext): void {
  const log = cli.program.command('log').description('the transparency log');
  log
    .command('audit')
    .description('read the whole log and check every entry, tile and signature, and that it extends its earlier state')
    .option('--url <url>', 'where the log is served, for example http://127.0.0.1:8181/log')
    .option(
      '--folder <folder>',
      'a folder with its files, or s3://bucket/prefix; by default the one of the data folder',
    )
    .option('--keyring <file>', 'keyring whose log policy to trust')
    .option('--policy <file>', 'log policy to trust (C2SP tlog-policy) instead of that of a keyring')
    .option('--kept <file>', 'checkpoint of an earlier audit to compare with; the new one replaces it')
    .addOption(jsonOption())
    .action(async (options: AuditOptions) => {
      const out = new Output(options.json === true);
      try {
        const report = await audit(cli.data, options);
        out.show({ sound: true, ...report }, [
          `sound      ${report.origin}`,
          `  entries  ${report.size}, in ${report.bundles} bundles and ${report.tiles} tiles`,
          `  root     ${report.root}`,
          ...report.witnesses.map((name) => `  seen by  ${name}`),
          ...report.continues.map((size) => `  goes on  from the ${size} entries that were kept`),
        ]);
      } catch (error) {
        if (!(error instanceof LogRefused)) throw error;
        out.result({ sound: false, detail: error.message });
        throw new CodedError('log_unsound', error.message, { cause: error });
      }
    });
  addRecover(cli, log);
}

/** `countersign log recover`: what Redis has lost of the log comes back from the disk. */
function addRecover(cli: CliContext, log: Command): void {
  log
    .command('recover')
    .description('give Redis back the entries and records of the log that it has lost and the disk still has')
    .option('--folder <folder>', 'the folder of the log, or s3://bucket/prefix; by default the one of the data folder')
    .option('--keyring <file>', 'keyring whose log policy names the log')
    .option('--redis-url <url>', 'Redis address, as the attestor')
    .addOption(jsonOption())
    .action(async (options: RecoverOptions) => {
      const out = new Output(options.json === true);
      const place = cli.data.storage().files(options.folder ?? cli.data.log());
      const { logs } = readKeyring(options.keyring ?? cli.data.keyring()).logPolicy;
      let bar: ProgressBar | undefined;
      const recovered = await cli.withRedis('attestor', options.redisUrl, (redis) =>
        recoverLog({
          redis,
          keys: new RedisKeys(cli.data.shard),
          files: new LogFiles(place),
          archive: new JobArchive(place),
          trusted: logs.map(({ key }) => key),
          keepMs: KEEP_MS,
          hasRestored: (entries, of) => {
            bar ??= new ProgressBar('entries', of);
            bar.at(entries);
          },
        }).finally(() => bar?.end()),
      );
      if (recovered === undefined) out.show({ recovered: false }, ['Redis has lost nothing of the log.']);
      else
        out.show({ recovered: true, ...recovered }, [
          `recovered  ${recovered.to} entries; Redis had published ${recovered.from}`,
          `  done     ${recovered.restored} jobs, by the records of the disk`,
          `  again    ${recovered.again} jobs wait for a verdict again`,
        ]);
    });
}

/** Throws LogRefused, and CodedErrors for files that cannot be read. */
async function audit(data: DataFolder, options: AuditOptions): ReturnType<typeof auditLog> {
  const policy =
    options.policy === undefined
      ? readKeyring(options.keyring ?? data.keyring()).logPolicy
      : parsePolicy(readFileSync(options.policy, 'utf8'));
  const earlier = options.kept !== undefined && existsSync(options.kept) ? [readFileSync(options.kept, 'utf8')] : [];
  const source =
    options.url === undefined
      ? await fromFiles(data.storage().files(options.folder ?? data.log()))
      : fromUrl(await logAt(apiUrl(options.url)));
  let bar: ProgressBar | undefined;
  const report = await auditLog(source, policy, earlier, (entries, size) => {
    bar ??= new ProgressBar('entries', size);
    bar.at(entries);
  }).finally(() => bar?.end());
  if (options.kept !== undefined) writeFileSync(options.kept, report.checkpoint, { mode: 0o644 });
  return report;
}

/** Throws CodedError `request_invalid` where no log is in this place: that is a wrong path and no forgery. */
async function fromFiles(place: FileTree): Promise<LogSource> {
  const files = new LogFiles(place);
  if ((await files.readCheckpoint()) === undefined)
    throw new CodedError('request_invalid', `There is no log in ${place.place}: it has no checkpoint.`, {
      hint: 'give its folder with --folder, or its address with --url',
    });
  return async (path) => {
    const tile = parseTilePath(path);
    if (tile !== undefined) return files.readPrefix(tile);
    const checkpoint = await files.readCheckpoint();
    return checkpoint === undefined ? undefined : Buffer.from(checkpoint);
  };
}

/**
 * The address of the log that is meant: the given one, or `/log` behind it where the given one is that of the
 * API. Throws CodedError `request_invalid` where neither has a checkpoint, which is a typing error and not a
 * forged log; a page in its place is none either.
 */
async function logAt(base: string): Promise<string> {
  for (const candidate of [base, `${base}/log`]) {
    const bytes = await fromUrl(candidate)('checkpoint');
    if (bytes !== undefined && !/^\s*[<{]/.test(bytes.toString('utf8', 0, 64))) return candidate;
  }
  throw new CodedError('request_invalid', `No log is served at ${base}, nor at ${base}/log.`, {
    hint: 'give the address of the API, or where it serves its log, such as http://127.0.0.1:8181/log',
  });
}

function fromUrl(base: string): LogSource {
  return async (path) => {
    const url = `${base}/${path}`;
    const response = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(FETCH_MS) }).catch(
      (cause: unknown) => {
        throw new CodedError('request_invalid', `${url} cannot be read: ${messageOf(cause)}.`, { cause });
      },
    );
    if (response.status === 404) return undefined;
    if (!response.ok)
      throw new CodedError('storage_unavailable', `${url} answers ${response.status}; try again when it is back.`);
    const bytes = await readBounded(response, MAX_FILE_BYTES);
    if (bytes === undefined) throw new LogRefused(`${url} is longer than any file of a log.`);
    return bytes;
  };
}
