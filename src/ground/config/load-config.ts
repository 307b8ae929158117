import { z } from 'zod';
import { CodedError } from '../errors/coded-error.ts';

const PREFIX = 'COUNTERSIGN_';

/**
 * Variables of other roles that may stand in a shared environment without harm. A signing key is never among
 * them: a process that finds another role's key in its environment refuses to start.
 */
const SHARED = new Set([
  'COUNTERSIGN_DATA',
  'COUNTERSIGN_URL',
  'COUNTERSIGN_CLIENT_KEY_FILE',
  'COUNTERSIGN_VECTORS',
  'COUNTERSIGN_CRASH_AT',
]);

/**
 * Returns a role's configuration from the environment. An unknown `COUNTERSIGN_` variable is refused with the
 * nearest known name, because a misspelt limit limits nothing.
 *
 * Throws CodedError `config_invalid`, whose message has all mistakes at once.
 */
export function loadConfig<Schema extends z.ZodObject>(schema: Schema, env: NodeJS.ProcessEnv): z.infer<Schema> {
  const known = Object.keys(schema.shape);
  const problems: string[] = [];
  const input: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || value === undefined || value === '') continue;
    if (known.includes(name)) input[name] = value;
    else if (!SHARED.has(name)) problems.push(unknownVariable(name, known));
  }
  const parsed = schema.safeParse(input);
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      problems.push(`${issue.path.join('.') || 'configuration'}: ${issue.message}`);
  }
  if (problems.length > 0 || !parsed.success) {
    throw new CodedError('config_invalid', problems.join('; '), {
      hint: 'docs/configuration.md lists all variables with their defaults',
    });
  }
  return parsed.data;
}

function unknownVariable(name: string, known: readonly string[]): string {
  if (/(SIGNING_KEY|ATTESTOR_KEY|LOG_KEY)/.test(name)) {
    return `${name} holds another role's key and must not be in this process's environment`;
  }
  const near = nearest(name, known);
  return `${name} is not a variable of this role${near === undefined ? '' : `; did you mean ${near}?`}`;
}

/**
 * The known name with the smallest edit distance, if that is below a quarter of the name's length (at least
 * 3).
 */
function nearest(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(3, Math.floor(name.length / 4));
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + cost));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
