import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ReceiptRefused } from '../../proof/receipts/receipt.ts';
import { compareResponse, type Committed } from '../openai/exchange.ts';

/** A file of a batch is at most this long where it is compared in one piece. */
const MAX_BYTES = 256 * 1_048_576;

/**
 * Compares the line of a batch's output or error file that names the job of a receipt with what was
 * confirmed, and returns in one sentence what was compared. Throws ReceiptRefused `wrong_output` where no
 * line names the job, or the line that does has another answer, and CodedError `request_invalid` for what no
 * file of a batch is.
 */
export function compareBatchOutput(file: Uint8Array, committed: Committed): string {
  const { job } = committed.ticket;
  if (file.length > MAX_BYTES)
    throw new CodedError('request_invalid', `A file of a batch has at most ${MAX_BYTES} bytes here.`);
  const lines = Buffer.from(file).toString('utf8').split('\n');
  const at = lines.findIndex((line) => line.includes(job));
  const line = lines[at];
  if (line === undefined)
    throw new ReceiptRefused('wrong_output', `No line of the file of the batch names the job ${job}.`);
  const { body, customId, done } = readLine(line, at + 1);
  const own = done.find(({ job_id }) => job_id === job);
  const where = `line ${at + 1} of the file of the batch, ${JSON.stringify(customId)}`;
  if (own === undefined) return `${where}: ${compareResponse(body, committed)}`;
  if (sha256Hex(JSON.stringify(own.output)) !== committed.outputSha256)
    throw new ReceiptRefused('wrong_output', `In ${where}, the output is not the one that was confirmed.`);
  return `${where}: the output is the one that was confirmed`;
}

interface BatchLine {
  readonly customId: string;
  readonly body: unknown;
  /** Outputs of a line that failed as a whole, of those of its jobs that are done. */
  readonly done: readonly { readonly job_id?: unknown; readonly output?: unknown }[];
}

function readLine(line: string, number: number): BatchLine {
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch (cause) {
    throw new CodedError('request_invalid', `Line ${number} of the file of the batch is not JSON.`, { cause });
  }
  const customId = memberOf(read, 'custom_id');
  if (typeof customId !== 'string')
    throw new CodedError('request_invalid', `Line ${number} of the file given is not a line of a batch's output.`);
  const done = memberOf(memberOf(read, 'countersign'), 'done');
  const outputs: readonly unknown[] = Array.isArray(done) ? done : [];
  return {
    customId,
    body: memberOf(memberOf(read, 'response'), 'body'),
    done: outputs.map((one) => ({ job_id: memberOf(one, 'job_id'), output: memberOf(one, 'output') })),
  };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
