import { z } from 'zod';
import { JsonRefused, decodeUtf8, parseStrictJson } from '../../ground/json/strict-json.ts';
import type { BatchEndpoint } from './batch-request.ts';
import type { LineError } from './batch.store.ts';

export const MAX_LINES = 50_000;
/** A line holds one request, and no request that this service accepts is longer. */
export const MAX_LINE_BYTES = 4 * 1_048_576 + 131_072;
const MAX_DEPTH = 33;

const Line = z.looseObject({
  custom_id: z.string().min(1).max(512),
  method: z.literal('POST'),
  url: z.string(),
  body: z.looseObject({}),
});

/** A well-formed line; its body is not checked yet. */
export interface BatchLine {
  readonly customId: string;
  readonly body: unknown;
}

/**
 * Parses a line of a batch's input. Returns the line, or what is wrong with it under OpenAI's codes. `number`
 * counts from 1.
 */
export function readLine(bytes: Buffer, number: number, endpoint: BatchEndpoint): BatchLine | LineError {
  const refuse = (code: string, message: string, param: string | null = null): LineError => ({
    code,
    message,
    param,
    line: number,
  });
  let json: unknown;
  try {
    json = parseStrictJson(decodeUtf8(bytes), { maxDepth: MAX_DEPTH });
  } catch (error) {
    if (error instanceof JsonRefused) return refuse('invalid_json_line', `This line is not JSON: ${error.message}`);
    throw error;
  }
  const parsed = Line.safeParse(json);
  if (!parsed.success) {
    const param = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
    return param === 'method'
      ? refuse('invalid_method', 'The method of every line is POST.', param)
      : refuse('missing_required_parameter', `This line lacks a usable "${param}".`, param === '' ? null : param);
  }
  if (parsed.data.url !== endpoint)
    return refuse('invalid_url', `The url of every line is the endpoint of the batch, ${endpoint}.`, 'url');
  return { customId: parsed.data.custom_id, body: parsed.data.body };
}

/** Whether `readLine` refused the line. */
export function isLineError(line: BatchLine | LineError): line is LineError {
  return 'code' in line;
}

/**
 * The lines of a file, one at a time, without blank ones and without a byte-order mark at the head. A line
 * longer than `maxBytes` is undefined, and is never held whole.
 */
export async function* linesOf(
  source: AsyncIterable<Buffer>,
  maxBytes = MAX_LINE_BYTES,
): AsyncGenerator<Buffer | undefined> {
  let parts: Buffer[] = [];
  let bytes = 0;
  let isHead = true;
  const take = (): Buffer | undefined => {
    const whole = bytes > maxBytes ? undefined : Buffer.concat(parts);
    const line = isHead && whole?.subarray(0, 3).equals(BYTE_ORDER_MARK) === true ? whole.subarray(3) : whole;
    isHead = false;
    parts = [];
    bytes = 0;
    return line;
  };
  const keep = (piece: Buffer) => {
    bytes += piece.length;
    // Bytes beyond the bound are counted but not kept.
    if (bytes <= maxBytes) parts.push(piece);
  };
  for await (const chunk of source) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      keep(chunk.subarray(from, at));
      from = at + 1;
      const line = take();
      if (line === undefined || !isBlank(line)) yield line;
    }
    keep(chunk.subarray(from));
  }
  const last = take();
  if (last === undefined || !isBlank(last)) yield last;
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 32 || byte === 13 || byte === 9);
}
