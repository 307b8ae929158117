import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';

/**
 * A value from outside, checked by its schema. Throws CodedError `request_invalid` that names the first few
 * mistakes.
 */
export function checked<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
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
