import { openWorkerList, requireStanding } from '../../core/registry/worker-list.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { ReceiptRefused, verifyReceipt } from '../../proof/receipts/receipt.ts';
import { readBytes } from './arguments.ts';
import type { CliContext } from './cli-context.ts';
import { Output, jsonOption } from './output.ts';
import type { DataFolder } from './data-folder.ts';

interface VerifyOptions {
  readonly workers?: string;
  readonly keyring?: string;
  readonly logPolicy?: string;
  readonly output?: string;
  readonly input?: string;
  readonly json?: boolean;
}

/** `countersign verify`: a receipt against keys that are held already, without a network. */
export function addVerifyCommand(cli: CliContext): void {
  cli.program
    .command('verify')
    .description('verify a receipt offline: no service is asked')
    .argument('<receipt>', 'receipt file')
    .option('--keyring <file>', 'keys to trust, as served under /.well-known/countersign.json')
    .option('--log-policy <file>', 'log and witnesses to trust (C2SP tlog-policy), instead of those of the keyring')
    .option('--workers <file>', 'newest list of workers: receipts by stolen or ended keys are refused')
    .option('--output <file>', 'the output you hold, compared too')
    .option('--input <file>', 'the input you sent as JSON, compared too')
    .addOption(jsonOption())
    .action((receipt: string, options: VerifyOptions) => {
      const out = new Output(options.json === true);
      try {
        const verified = verifyFile(cli.data, receipt, options);
        const { ticket, evidence, verdict, inputSha256, outputSha256, checks } = verified;
        out.show({ verified: true, ticket, evidence, verdict, inputSha256, outputSha256, checks }, [
          `verified  ${ticket.job}  ${ticket.model.name}`,
          ...checks.map((check) => `  checked  ${check}`),
          ...verdict.notChecked.map((gap) => `  not      ${gap}`),
        ]);
      } catch (error) {
        if (!(error instanceof ReceiptRefused)) throw error;
        out.result({ verified: false, reason: error.reason, detail: error.message });
        throw new CodedError('receipt_refused', `${error.reason}: ${error.message}`);
      }
    });
}

/** The verified receipt. Throws ReceiptRefused, and CodedErrors for files that cannot be read. */
function verifyFile(data: DataFolder, receipt: string, options: VerifyOptions): ReturnType<typeof verifyReceipt> {
  const keyring = readKeyring(options.keyring ?? data.keyring());
  const trust =
    options.logPolicy === undefined ? keyring : keyring.withLogPolicy(readBytes(options.logPolicy).toString('utf8'));
  const verified = verifyReceipt(readBytes(receipt), trust, {
    ...(options.output === undefined ? {} : { output: readBytes(options.output) }),
    ...(options.input === undefined ? {} : { input: readBytes(options.input) }),
  });
  if (options.workers !== undefined)
    requireStanding(openWorkerList(readBytes(options.workers).toString('utf8'), trust.of('registry')).list, verified);
  return verified;
}
