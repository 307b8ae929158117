import { CodedError } from '../../ground/errors/coded-error.ts';
import { MAX_LINES, isLineError, readLine, type BatchLine } from './batch-line.ts';
import type { BatchEndpoint } from './batch-request.ts';
import type { LineError } from './batch.store.ts';

const MAX_ERRORS_LISTED = 100;
const MAX_MODEL_LENGTH = 63;

/** What the form of a batch's input shows. The batch fails if there are errors. */
export interface Validation {
  /** At most 100, in the order of the lines. */
  readonly errors: readonly LineError[];
  readonly total: number;
  /** The model of the first line that names one. */
  readonly model: string | undefined;
}

/**
 * Reads a batch's whole input once, before anything runs. `lines` are those of `linesOf`. Ends early when
 * `gone` is aborted; the result is of no use then.
 */
export async function validateInput(
  lines: AsyncIterable<Buffer | undefined>,
  endpoint: BatchEndpoint,
  gone: AbortSignal,
): Promise<Validation> {
  const errors: LineError[] = [];
  const seen = new Set<string>();
  let total = 0;
  let model: string | undefined;
  const fail = (error: LineError) => {
    if (errors.length < MAX_ERRORS_LISTED) errors.push(error);
  };
  try {
    for await (const bytes of lines) {
      if (gone.aborted) break;
      total += 1;
      if (total > MAX_LINES) {
        fail(refusal('too_many_lines', `A batch has at most ${MAX_LINES} lines.`, total));
        break;
      }
      const line = checkLine(bytes, total, endpoint, seen);
      if (isLineError(line)) fail(line);
      else model ??= modelOf(line);
    }
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    fail(refusal('file_unreadable', 'The input file cannot be read; upload it again.', null));
  }
  if (total === 0) fail(refusal('empty_file', 'The input file has no lines.', null));
  return { errors, total, model };
}

/** One line, or what is wrong with it. Adds its custom_id to those that were seen. */
function checkLine(
  bytes: Buffer | undefined,
  number: number,
  endpoint: BatchEndpoint,
  seen: Set<string>,
): BatchLine | LineError {
  if (bytes === undefined) return refusal('line_too_long', 'This line is longer than any request may be.', number);
  const line = readLine(bytes, number, endpoint);
  if (isLineError(line)) return line;
  if (seen.has(line.customId))
    return refusal('duplicate_custom_id', 'Another line already has this custom_id.', number, 'custom_id');
  seen.add(line.customId);
  return line;
}

function refusal(code: string, message: string, line: number | null, param: string | null = null): LineError {
  return { code, message, line, param };
}

function modelOf({ body }: BatchLine): string | undefined {
  return typeof body === 'object' && body !== null && 'model' in body && typeof body.model === 'string'
    ? body.model.slice(0, MAX_MODEL_LENGTH)
    : undefined;
}
