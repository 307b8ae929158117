import { openWorkerList, requireStanding } from '../../core/registry/worker-list.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { ReceiptRefused, verifyReceipt, type VerifiedReceipt } from '../../proof/receipts/receipt.ts';
import type { VerificationStep } from '../../proof/receipts/verification-steps.ts';
import { compareRequest, compareResponse } from '../../surfaces/openai/exchange.ts';
import { readBytes, readJson } from './arguments.ts';
import { heldDocument } from './held-document.ts';
import { Output, jsonOption } from './output.ts';
import type { Program } from './program.ts';
import { trustedKeyring, type TrustOptions } from './trusted-keyring.ts';
import { reportLines } from './verify-report.ts';
import { Transcript } from './verify-transcript.ts';

interface VerifyOptions extends TrustOptions {
  readonly workers?: string;
  readonly output?: string;
  readonly input?: string;
  readonly request?: string;
  readonly response?: string;
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
    .argument('<receipt>', 'receipt file')
    .option('--keyring <file>', 'keys to trust, as served under /.well-known/countersign.json')
    .option('--url <url>', 'where no --keyring is given: take the keyring of this service, on first use')
    .option('--log-policy <file>', 'log and witnesses to trust (C2SP tlog-policy), instead of those of the keyring')
    .option('--workers <file>', 'newest list of workers: receipts by stolen or ended keys are refused')
    .option('--output <file>', 'the output you hold, compared too')
    .option('--input <file>', 'the input you sent as JSON, compared too')
    .option('--request <file>', 'the request you sent, in the shape of OpenAI or of POST /v1/jobs, compared too')
    .option('--response <file>', 'the response that an OpenAI client got, compared too')
    .addOption(jsonOption())
    .addHelpText('after', EXIT_CODES)
    .action((receipt: string, options: VerifyOptions) => verify(cli, receipt, options));
}

async function verify(cli: Program, receipt: string, options: VerifyOptions): Promise<void> {
  const out = new Output(options.json === true);
  const { keyring, from, sentence } = await trustedKeyring(cli.data, options);
  const trust = { from, sentence };
  const transcript = new Transcript();
  try {
    const verified = verifyAll(readBytes(receipt), keyring, options, transcript);
    const { ticket, evidence, verdict, inputSha256, outputSha256, charge, logged, checks } = verified;
    const { lines } = transcript;
    out.show(
      {
        ...{ verified: true, transcript: lines, trust, ticket, evidence, verdict },
        ...{ inputSha256, outputSha256, charge, logged, checks },
      },
      reportLines(verified, lines, sentence),
    );
  } catch (error) {
    if (!(error instanceof ReceiptRefused)) throw error;
    const { reason, message } = error;
    out.result({ verified: false, reason, detail: message, transcript: transcript.lines, trust });
    throw new CodedError('receipt_refused', `${reason}: ${message}`);
  }
}

/** Each step of the specification, and what was given to compare. Throws ReceiptRefused and CodedErrors. */
function verifyAll(bytes: Buffer, keyring: Keyring, options: VerifyOptions, transcript: Transcript): VerifiedReceipt {
  const noting = <T>(step: VerificationStep | undefined, check: () => T): T => {
    try {
      return check();
    } catch (error) {
      if (error instanceof ReceiptRefused) transcript.fail(error.message, step);
      throw error;
    }
  };
  const verified = noting(undefined, () => verifyReceipt(bytes, keyring, { passed: transcript.pass }));
  const checks = [...verified.checks];
  const compare = (step: 'input' | 'output', file: string | undefined, check: (path: string) => string) => {
    if (file === undefined) return;
    const note = noting(step, () => check(file));
    transcript.pass(step, [transcript.noteOf(step), note].filter((one) => one !== undefined).join('; '));
    checks.push(note);
  };
  const held = (name: 'input' | 'output') => (path: string) => {
    const document = heldDocument(readBytes(path), verified[`${name}Sha256`]);
    verifyReceipt(bytes, keyring, { [name]: document.bytes });
    const words = name === 'input' ? 'the one that was asked' : 'the one that was confirmed';
    return `the ${name} given is ${words}${document.note === undefined ? '' : `, the same ${document.note}`}`;
  };
  compare('input', options.input, held('input'));
  compare('input', options.request, (path) => compareRequest(readJson(path), verified));
  compare('output', options.output, held('output'));
  compare('output', options.response, (path) => compareResponse(readJson(path), verified));
  const { workers } = options;
  if (workers !== undefined) {
    noting('standing', () => {
      requireStanding(openWorkerList(readBytes(workers).toString('utf8'), keyring.of('registry')).list, verified);
    });
    transcript.pass('standing', 'the newest list of workers that was given holds nothing against its worker');
  }
  return { ...verified, checks };
}
