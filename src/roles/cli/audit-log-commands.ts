import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { AuditRefused, verifyAuditExport } from '../../core/audit/audit-export.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { LogRefused } from '../../proof/tlog/signed-note.ts';
import type { RemoteOptions } from './caller-context.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

/** `countersign audit-log`: who did what with which power, exported and verified offline. */
export function addAuditLogCommands(cli: CliContext): void {
  const audit = cli.program
    .command('audit-log')
    .description('the log of what was done with which power: export it, and verify an export offline');
  addExport(cli, audit);
  addVerify(cli, audit);
}

function addExport(cli: CliContext, audit: Command): void {
  cli
    .remote('export', 'write all entries to a file, and the proofs of their heads; needs the scope operator', audit)
    .requiredOption('--out <file>', 'file to write')
    .action(async (options: RemoteOptions & { out: string }) => {
      const file = await open(options.out, 'w', 0o600);
      let bytes = 0;
      try {
        const pieces = cli.client(options).pieces('/v1/admin/audit/export');
        for await (const piece of new ProgressBar('bytes', undefined).through(pieces, ({ length }) => length)) {
          await file.writeFile(piece);
          bytes += piece.length;
        }
        await file.sync();
      } finally {
        await file.close();
      }
      new Output(options.json === true).show({ file: options.out, bytes }, [`${options.out}  ${bytes} bytes`]);
    });
}

function addVerify(cli: CliContext, audit: Command): void {
  audit
    .command('verify')
    .description('check an export: every entry chained, every logged head met; exit code 7 where it is not sound')
    .argument('<file>', 'the export')
    .option('--keyring <file>', 'keyring whose log policy to trust')
    .addOption(jsonOption())
    .action(async (path: string, options: { keyring?: string; json?: boolean }) => {
      const out = new Output(options.json === true);
      const policy = readKeyring(options.keyring ?? cli.data.keyring()).logPolicy;
      const lines = createInterface({ input: createReadStream(path), crlfDelay: Infinity });
      try {
        const report = await verifyAuditExport(new ProgressBar('lines', undefined).through(lines), policy);
        out.show({ sound: true, ...report }, [
          `sound      ${report.entries} entries, chained from the first`,
          `  log      ${report.heads} heads are in the transparency log; the last covers ${report.covered} entries`,
        ]);
      } catch (error) {
        if (!(error instanceof AuditRefused) && !(error instanceof LogRefused)) throw error;
        out.result({ sound: false, detail: error.message });
        throw new CodedError('log_unsound', error.message, { cause: error });
      }
    });
}
