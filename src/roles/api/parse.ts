import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** What came from outside, by its schema. Throws CodedError `request_invalid` that names the first few mistakes. */
export function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, 5).map((issue) => {
    const where = issue.path.map((part) => printable(String(part))).join('.');
    return `${where === '' ? 'the request' : where}: ${printable(issue.message)}`;
  });
  throw new CodedError('request_invalid', problems.join('; '));
}

/** Text that may come from the caller, without what could break a line of a log or a header. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 160);
}

const KEY = /^(?:"([\x20\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255}))$/;

/** The Idempotency-Key, quoted as the draft says, or bare as most clients send it. */
export function parseIdempotencyKey(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const match = typeof header === 'string' ? KEY.exec(header) : null;
  const key = match?.[1] ?? match?.[2];
  if (key === undefined)
    throw new CodedError('request_invalid', 'The Idempotency-Key must be 1 to 255 printable characters, given once.');
  return key;
}

const MAX_WAIT_S = 60;

/** Seconds in `Prefer: wait=N` (RFC 7240), at most 60; undefined where it is not asked for. */
export function parsePreferWait(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const text = Array.isArray(header) ? header.join(',') : header;
  const [, bare, seconds] = /(?:^|[,;])\s*wait(\s*=\s*"?(\d{1,6})"?)?\s*(?=$|[,;])/i.exec(text) ?? [];
  if (bare === undefined || seconds === undefined)
    return /(?:^|[,;])\s*wait\s*(?=$|[,;])/i.test(text) ? MAX_WAIT_S : undefined;
  return Math.min(Number(seconds), MAX_WAIT_S);
}
