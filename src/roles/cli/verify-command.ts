import { readFileSync, writeFileSync } from 'node:fs';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { checkerFile } from '../../surfaces/checker/checker-files.ts';
import { examine, type Held } from '../../surfaces/checker/examine.ts';
import { readBytes } from './arguments.ts';
import { Output, jsonOption } from './output.ts';
import type { Program } from './program.ts';
import { trustedKeyring, type TrustOptions } from './trusted-keyring.ts';
import { reportLines } from './verify-report.ts';

interface VerifyOptions extends TrustOptions {
  readonly workers?: string;
  readonly output?: string;
  readonly input?: string;
  readonly request?: string;
  readonly response?: string;
  readonly batch?: string;
  readonly checkpoint?: string;
  readonly page?: string;
  readonly json?: boolean;
}

const EXIT_CODES = `
Exit codes: 0 verified; 7 refused, with the reason; 2 nothing was verified, because a file or an option is unfit.
With --json, standard output has one line: { verified, transcript, … }. A line of the transcript is PASS, FAIL or
SKIP, with the sentence of docs/receipt-format.md that asks for the check; what was skipped was not checked.`;

/** `countersign verify`: a receipt against keys that are held already, without a network. */
export function addVerifyCommand(cli: Program): void {
  cli.program
    .command('verify')
    .description('verify a receipt offline: no service is asked, but for a keyring with --url')
    .argument('[receipt]', 'receipt file, or - for standard input')
    .option('--keyring <file>', 'keys to trust, as served under /.well-known/countersign.json')
    .option('--url <url>', 'where no --keyring is given: take the keyring of this service, on first use')
    .option('--log-policy <file>', 'log and witnesses to trust (C2SP tlog-policy), instead of those of the keyring')
    .option('--workers <file>', 'newest list of workers: receipts by stolen or ended keys are refused')
    .option('--output <file>', 'the output you hold, compared too')
    .option('--input <file>', 'the input you sent as JSON, compared too')
    .option('--request <file>', 'the request you sent, in the shape of OpenAI or of POST /v1/jobs, compared too')
    .option('--response <file>', 'the response that an OpenAI client got, compared too')
    .option('--batch <file>', 'the output or error file of a batch: the line of this job is compared too')
    .option('--checkpoint <file>', 'a checkpoint of the log that you or a witness kept, compared too')
    .option('--page <file>', 'write a page to this file that checks receipts in a browser, without a network')
    .addOption(jsonOption())
    .addHelpText('after', EXIT_CODES)
    .action((receipt: string | undefined, options: VerifyOptions) => verify(cli, receipt, options));
}

async function verify(cli: Program, receipt: string | undefined, options: VerifyOptions): Promise<void> {
  const out = new Output(options.json === true);
  if (options.page !== undefined) writeFileSync(options.page, checkerFile('verify.html'));
  if (receipt === undefined) {
    if (options.page === undefined)
      throw new CodedError('request_invalid', 'There is no receipt to verify.', {
        hint: 'name the file of a receipt, or write the page that checks receipts with --page FILE',
      });
    out.show({ page: options.page }, [options.page]);
    return;
  }
  const trusted = await trustedKeyring(cli.data, options);
  const { answer } = examine(receipt === '-' ? readFileSync(0) : readBytes(receipt), trusted, heldBy(options));
  if (!answer.verified) {
    out.result(answer);
    throw new CodedError('receipt_refused', `${answer.reason}: ${answer.detail}`);
  }
  out.show(answer, reportLines(answer, answer.transcript, trusted.sentence));
}

/** The files that were named, and standard input for a request or response that is `-`. */
function heldBy({ input, output, request, response, batch, checkpoint, workers }: VerifyOptions): Held {
  const bytes = (path: string | undefined) => (path === undefined ? undefined : readBytes(path));
  const piped = (path: string | undefined) => (path === '-' ? readFileSync(0) : bytes(path));
  return {
    input: bytes(input),
    output: bytes(output),
    request: piped(request),
    response: piped(response),
    batch: bytes(batch),
    checkpoint: bytes(checkpoint),
    workers: bytes(workers),
  };
}
