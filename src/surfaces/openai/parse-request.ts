import type { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** Members that are left out because they are null can uncover more of them, a level deeper each time. */
const MAX_LEVELS = 8;

/**
 * The value by its schema. Members that the schema does not know and that are null say nothing, and are left
 * out. Throws CodedError `request_invalid`, which names the parameter as OpenAI does.
 */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, value: unknown, at = ''): z.infer<Schema> {
  let parsed = schema.safeParse(value);
  let left = value;
  for (let level = 0; !parsed.success && level < MAX_LEVELS; level += 1) {
    const spare = unknownNulls(parsed.error.issues, left);
    if (spare.length === 0) break;
    left = without(left, spare);
    parsed = schema.safeParse(left);
  }
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

type Path = readonly PropertyKey[];

/** Where members stand that no schema knows and whose value is null. */
function unknownNulls(issues: readonly z.core.$ZodIssue[], value: unknown, at: Path = []): Path[] {
  return issues.flatMap((issue): Path[] => {
    const path = [...at, ...issue.path];
    if (issue.code === 'invalid_union') return issue.errors.flatMap((inner) => unknownNulls(inner, value, path));
    if (issue.code !== 'unrecognized_keys') return [];
    return issue.keys.map((key) => [...path, key]).filter((member) => valueAt(value, member) === null);
  });
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, key) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}

function without(value: unknown, paths: readonly Path[]): unknown {
  const copy: unknown = structuredClone(value);
  for (const path of paths) {
    const parent = valueAt(copy, path.slice(0, -1));
    const key = path.at(-1);
    if (typeof parent === 'object' && parent !== null && key !== undefined) Reflect.deleteProperty(parent, key);
  }
  return copy;
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 160);
}
