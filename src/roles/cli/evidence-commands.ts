import { join } from 'node:path';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { trustInGiven, type Trusted } from '../../surfaces/checker/trust.ts';
import { timeOf } from './arguments.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { KEYRING_FILE, checkEvidence, exportEvidence } from './evidence-bundle.ts';
import { Output, jsonOption } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

/** `countersign export-evidence` and `verify-evidence`: the receipts of a period, for an auditor. */
export function addEvidenceCommands(cli: CallerContext): void {
  cli
    .remote('export-evidence', 'save the receipts of all jobs of a period that are done, for an auditor')
    .requiredOption('--from <time>', 'the first instant of the period', timeOf)
    .requiredOption('--to <time>', 'the first instant after the period', timeOf)
    .requiredOption('--out <folder>', 'folder to write; an interrupted export goes on where it stopped')
    .action(exportBundle(cli));
  cli.program
    .command('verify-evidence')
    .description('check such a folder offline; exit code 7 where a receipt does not hold or a file was changed')
    .argument('<folder>', 'the folder')
    .option('--keyring <file>', 'keys to trust, instead of those that the folder brings')
    .addOption(jsonOption())
    .action(checkBundle);
}

function exportBundle(cli: CallerContext) {
  return async (options: RemoteOptions & { from: string; to: string; out: string }): Promise<void> => {
    const { from, to, out: folder } = options;
    if (Date.parse(from) >= Date.parse(to))
      throw new CodedError('request_invalid', 'The period ends before it begins.', {
        hint: '--from is earlier than --to',
      });
    const bar = new ProgressBar('receipts', undefined);
    const manifest = await exportEvidence(cli.client(options), folder, { from, to }, (count) => bar.at(count)).finally(
      () => bar.end(),
    );
    const { receipts, absent } = manifest;
    new Output(options.json === true).show({ folder, receipts: receipts.length, absent }, [
      `${folder}  ${receipts.length} receipts of jobs that were created from ${from} to ${to}`,
      ...absent.map(({ job, code }) => `no receipt  ${job}  ${code}`),
    ]);
  };
}

function checkBundle(folder: string, options: { keyring?: string; json?: boolean }): void {
  const out = new Output(options.json === true);
  const trusted = trustIn(folder, options.keyring);
  const bar = new ProgressBar('receipts', undefined);
  const report = checkEvidence(folder, trusted, (count) => bar.at(count));
  bar.end();
  const trust = { from: trusted.from, sentence: trusted.sentence };
  const { sound, verified, absent, faults, period } = report;
  if (!sound) {
    out.result({ ...report, trust });
    for (const { file, reason, detail } of faults.slice(0, SHOWN)) out.say(`${file}  ${reason}: ${detail}`);
    throw new CodedError('receipt_refused', `Of the bundle, ${faults.length} files are not as they should be.`);
  }
  out.show({ ...report, trust }, [
    `verified     ${verified} receipts of jobs that were created from ${period.from} to ${period.to}`,
    ...absent.map(({ job, code }) => `absent       ${job}, for which the service gave no receipt: ${code}`),
    'not checked  whether the service has listed all jobs of the period',
    `trust        ${trust.sentence}`,
  ]);
}

/** More are in the output of `--json`. */
const SHOWN = 50;

function trustIn(folder: string, keyring: string | undefined): Trusted {
  if (keyring !== undefined) return { keyring: readKeyring(keyring), ...trustInGiven(keyring) };
  return {
    keyring: readKeyring(join(folder, KEYRING_FILE)),
    from: 'first use',
    sentence:
      'the keyring that the folder brings, on first use: whoever made the folder could have made receipts and keyring alike. Compare it with one that you got in another way, or give that one with --keyring',
  };
}
