import { openWorkerList, requireStanding } from '../../core/registry/worker-list.ts';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { ReceiptRefused, verifyReceipt, type VerifiedReceipt } from '../../proof/receipts/receipt.ts';
import type { VerificationStep } from '../../proof/receipts/verification-steps.ts';
import { compareRequest, compareResponse } from '../openai/exchange.ts';
import { compareBatchOutput } from './batch-output.ts';
import { heldDocument } from './held-document.ts';
import { compareCheckpoint } from './kept-checkpoint.ts';
import { Transcript, type TranscriptLine } from './transcript.ts';
import type { Trust, Trusted } from './trust.ts';

/** What the holder of a receipt has beside it, each as the bytes of its file. */
export interface Held {
  /** The documents that the receipt names by their digests. */
  readonly input?: Uint8Array | undefined;
  readonly output?: Uint8Array | undefined;
  /** What was sent and what came back, in the shape of OpenAI or of `POST /v1/jobs`. */
  readonly request?: Uint8Array | undefined;
  readonly response?: Uint8Array | undefined;
  /** The output or error file of a batch. */
  readonly batch?: Uint8Array | undefined;
  /** A checkpoint of the log that its holder or a witness kept. */
  readonly checkpoint?: Uint8Array | undefined;
  /** The newest signed list of workers. */
  readonly workers?: Uint8Array | undefined;
}

interface Said {
  readonly transcript: readonly TranscriptLine[];
  readonly trust: Trust;
}

/** What `countersign verify --json` and the page print. */
export type Answer =
  | ({ readonly verified: true } & Said & VerifiedReceipt)
  | ({ readonly verified: false; readonly reason: string; readonly detail: string } & Said);

export interface Examination {
  readonly answer: Answer;
  /** What the receipt says, where it holds by itself, whatever it was compared with. */
  readonly verified: VerifiedReceipt | undefined;
}

/**
 * Takes every step of `docs/receipt-format.md` and compares what its holder gave. It is all that
 * `countersign verify` and the page `/verify` know of verifying, so that both say the same. Throws
 * CodedErrors where something that was given is unfit, so that nothing was verified.
 */
export function examine(receipt: Uint8Array, trusted: Trusted, held: Held = {}): Examination {
  const transcript = new Transcript();
  const { from, sentence, keyring } = trusted;
  const trust = { from, sentence };
  let verified: VerifiedReceipt | undefined;
  try {
    verified = noting(transcript, undefined, () => verifyReceipt(receipt, keyring, { passed: transcript.pass }));
    const checks = [...verified.checks, ...compareAll(receipt, verified, trusted, held, transcript)];
    const { ticket, evidence, verdict, inputSha256, outputSha256, charge, logged } = verified;
    const said = { ticket, evidence, verdict, inputSha256, outputSha256, charge, logged, checks };
    return { answer: { verified: true, transcript: transcript.lines, trust, ...said }, verified };
  } catch (error) {
    if (!(error instanceof ReceiptRefused)) throw error;
    const { reason, message: detail } = error;
    return { answer: { verified: false, reason, detail, transcript: transcript.lines, trust }, verified };
  }
}

/** Compares what was given beside a receipt that holds, and returns in a sentence each what was compared. */
function compareAll(
  receipt: Uint8Array,
  verified: VerifiedReceipt,
  { keyring }: Trusted,
  held: Held,
  transcript: Transcript,
): string[] {
  const checks: string[] = [];
  const compare = (step: VerificationStep, bytes: Uint8Array | undefined, check: (bytes: Uint8Array) => string) => {
    if (bytes === undefined) return;
    const note = noting(transcript, step, () => check(bytes));
    transcript.pass(step, [transcript.noteOf(step), note].filter((one) => one !== undefined).join('; '));
    checks.push(note);
  };
  const named = (name: 'input' | 'output') => (bytes: Uint8Array) => {
    const document = heldDocument(Buffer.from(bytes), verified[`${name}Sha256`]);
    verifyReceipt(receipt, keyring, { [name]: document.bytes });
    const words = name === 'input' ? 'the one that was asked' : 'the one that was confirmed';
    return `the ${name} given is ${words}${document.note === undefined ? '' : `, the same ${document.note}`}`;
  };
  compare('input', held.input, named('input'));
  compare('input', held.request, (bytes) => compareRequest(jsonOf(bytes, 'request'), verified));
  compare('output', held.output, named('output'));
  compare('output', held.response, (bytes) => compareResponse(jsonOf(bytes, 'response'), verified));
  compare('output', held.batch, (bytes) => compareBatchOutput(bytes, verified));
  const { checkpoint, workers } = held;
  if (checkpoint !== undefined) {
    const { logPolicy } = keyring;
    const { isComparable, note } = noting(transcript, 'checkpoint', () =>
      compareCheckpoint(checkpoint, receipt, logPolicy),
    );
    if (isComparable) transcript.pass('checkpoint', note);
    else transcript.skip('checkpoint', note);
  }
  if (workers !== undefined) {
    noting(transcript, 'standing', () => {
      const { list } = openWorkerList(Buffer.from(workers).toString('utf8'), keyring.of('registry'));
      requireStanding(list, verified);
    });
    transcript.pass('standing', 'the newest list of workers that was given holds nothing against its worker');
  }
  return checks;
}

function noting<T>(transcript: Transcript, step: VerificationStep | undefined, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof ReceiptRefused) transcript.fail(error.message, step);
    throw error;
  }
}

function jsonOf(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new CodedError('request_invalid', `The ${name} given cannot be read as JSON: ${messageOf(cause)}.`, {
      cause,
    });
  }
}
