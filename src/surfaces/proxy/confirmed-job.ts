import { decodeUtf8, parseStrictJson } from '../../ground/json/strict-json.ts';
import type { SubmitJob } from '../../proof/contract/submit-job.ts';
import { fromEnvelope } from '../../proof/receipts/dsse.ts';
import { howConfirmed } from '../../proof/receipts/how-confirmed.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { ReceiptFile, verifyReceipt } from '../../proof/receipts/receipt.ts';
import { outputFault } from '../../proof/tasks/output-fault.ts';
import { MAX_OUTPUT_DEPTH } from '../../proof/tasks/task-input.ts';
import type { Done } from '../openai/answers.ts';
import { jobDifferences } from '../openai/exchange.ts';
import { Unverified } from './unverified.ts';

/** What a proxy can ask of every receipt, by the names of promises, and how a service is asked for it. */
export const CHECKS = {
  binding: {},
  recompute: { recompute: 1 },
  tokens: { tokens: 1 },
  quorum: { quorum: { of: 2, agree: 2 } },
  tee: { tee: true },
} as const;
export type Check = keyof typeof CHECKS;

/** What the receipt of a job is measured by. */
export interface Expected {
  /** The id under which the service says that it has run the job. */
  readonly id: string;
  /** The job that the request asks for. */
  readonly job: SubmitJob;
  readonly keyring: Keyring;
  readonly required: readonly Check[];
}

/**
 * The job that a receipt confirms, with this output: by the keyring, as it was asked for, and checked as is
 * required. Throws Unverified with the first reason found.
 */
export function confirmedJob(receipt: Uint8Array, output: Uint8Array, expected: Expected): Omit<Done, 'index'> {
  const { id, job, keyring, required } = expected;
  const verified = verifiedWith(receipt, output, keyring);
  const { ticket, evidence, verdict } = verified;
  if (ticket.job !== id)
    throw new Unverified('other_job', `The receipt is the one of ${ticket.job}, and not of ${id}.`);
  const differences = jobDifferences(job, verified);
  if (differences.length > 0)
    throw new Unverified('wrong_input', `The receipt is about another request: ${differences.join('; ')}.`);
  const text = textOf(output);
  const fault = outputFault(ticket.task, text, evidence.finishReason);
  if (fault !== undefined) throw new Unverified('malformed', `The output is none of a ${ticket.task}: ${fault}`);
  const payload = verdictOf(receipt);
  const checked = howConfirmed(payload).confirmed_by ?? [];
  const missing = required.filter((check) => !checked.includes(check));
  if (missing.length > 0)
    throw new Unverified(
      'too_weak',
      `The answer was confirmed by ${checked.join(', ')}, and not by ${missing.join(', ')}.`,
    );
  return {
    id,
    createdMs: Date.parse(ticket.createdAt),
    output: parseStrictJson(text, { maxDepth: MAX_OUTPUT_DEPTH }),
    usage: verdict.usage ?? evidence.usage,
    verdict: payload,
  };
}

function verifiedWith(receipt: Uint8Array, output: Uint8Array, keyring: Keyring) {
  try {
    return verifyReceipt(receipt, keyring, { output });
  } catch (error) {
    throw Unverified.from(error);
  }
}

function textOf(output: Uint8Array): string {
  try {
    return decodeUtf8(output);
  } catch (cause) {
    throw new Unverified('malformed', 'The output is not UTF-8.', { cause });
  }
}

/** The payload of the verdict in a receipt that was verified. */
function verdictOf(receipt: Uint8Array): Buffer {
  const signed = fromEnvelope(ReceiptFile.parse(JSON.parse(decodeUtf8(receipt))).verdict);
  if ('refused' in signed) throw new Error('A receipt that was verified has a verdict.');
  return signed.payload;
}
