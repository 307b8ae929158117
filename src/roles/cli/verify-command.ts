import { existsSync } from 'node:fs';
import { openWorkerList, requireStanding } from '../../core/registry/worker-list.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { ReceiptRefused, verifyReceipt } from '../../proof/receipts/receipt.ts';
import { readBytes } from './arguments.ts';
import { heldDocument } from './held-document.ts';
import { NOT_CHECKED } from './not-checked.ts';
import { Output, jsonOption } from './output.ts';
import type { DataFolder } from './data-folder.ts';
import type { Program } from './program.ts';

interface VerifyOptions {
  readonly workers?: string;
  readonly keyring?: string;
  readonly logPolicy?: string;
  readonly output?: string;
  readonly input?: string;
  readonly json?: boolean;
}

/** `countersign verify`: a receipt against keys that are held already, without a network. */
export function addVerifyCommand(cli: Program): void {
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
          ...verdict.notChecked.map((gap) => `  not checked: ${NOT_CHECKED[gap]}`),
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
  const path = options.keyring ?? data.keyring();
  if (!existsSync(path))
    throw new CodedError('key_file_unfit', `There is no keyring at ${path}.`, {
      hint: 'A keyring says whose signatures and which log you trust. Get it once, in a way that you trust, from the operator or from /.well-known/countersign.json of the service, and give it with --keyring FILE.',
    });
  const keyring = readKeyring(path);
  const trust =
    options.logPolicy === undefined ? keyring : keyring.withLogPolicy(readBytes(options.logPolicy).toString('utf8'));
  const bytes = readBytes(receipt);
  const { inputSha256, outputSha256 } = verifyReceipt(bytes, trust);
  const notes: string[] = [];
  const held = (name: string, file: string, sha256: string) => {
    const document = heldDocument(readBytes(file), sha256);
    if (document.note !== undefined) notes.push(`the ${name} given is the same ${document.note}`);
    return document.bytes;
  };
  const verified = verifyReceipt(bytes, trust, {
    ...(options.output === undefined ? {} : { output: held('output', options.output, outputSha256) }),
    ...(options.input === undefined ? {} : { input: held('input', options.input, inputSha256) }),
  });
  if (options.workers !== undefined)
    requireStanding(openWorkerList(readBytes(options.workers).toString('utf8'), trust.of('registry')).list, verified);
  return { ...verified, checks: [...verified.checks, ...notes] };
}
