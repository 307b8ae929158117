import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** The value by its schema. Throws CodedError `request_invalid`, which names the parameter as OpenAI does. */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, value: unknown, at = ''): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = deepest(parsed.error.issues[0]);
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const path = [...(at === '' ? [] : [at]), ...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])];
  const param = printable(path.map(String).join('.'));
  throw new CodedError(
    'request_invalid',
    unknown === undefined
      ? `${param === '' ? 'the body' : param}: ${printable(issue?.message ?? 'it has another shape')}.`
      : `Unrecognized request argument supplied: ${param}.`,
    param === '' ? {} : { param },
  );
}

/** Of a union, the mistake of the alternative that matched furthest. */
function deepest(issue: z.core.$ZodIssue | undefined): z.core.$ZodIssue | undefined {
  if (issue?.code !== 'invalid_union' || issue.errors.length === 0) return issue;
  const inner = issue.errors.flatMap(([first]) => (first === undefined ? [] : [deepest(first) ?? first]));
  const best = inner.toSorted((a, b) => b.path.length - a.path.length)[0];
  return best === undefined || best.path.length === 0 ? issue : { ...best, path: [...issue.path, ...best.path] };
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 160);
}
