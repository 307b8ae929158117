import { z } from 'zod';
import { CodedError } from '../../ground/errors/coded-error.ts';

/** Which memories Mem0's filters mean, in our words. */
export interface Meant {
  readonly owner: string;
  readonly agent?: string;
  readonly thread?: string;
  readonly category?: string;
  readonly created_after?: string;
  readonly created_before?: string;
}

// `*` stands for any value there.
const Text = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => text !== '*');
/** A value, or the value under an operator that says the same. */
const equal = z.union([Text, z.strictObject({ eq: Text }).transform(({ eq }) => eq)]);
const category = z.union([
  equal,
  z.strictObject({ contains: Text }).transform(({ contains }) => contains),
  z.strictObject({ in: z.tuple([Text]) }).transform(({ in: [only] }) => only),
]);
const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text).toISOString());

/** What one condition may say. */
const Condition = z.strictObject({
  user_id: equal.optional(),
  agent_id: equal.optional(),
  run_id: equal.optional(),
  categories: category.optional(),
  created_at: z.strictObject({ gte: time.optional(), lt: time.optional() }).optional(),
});
type Condition = z.infer<typeof Condition>;

const Filters = z.union([
  z.strictObject({ AND: z.array(Condition).min(1).max(16) }).transform(({ AND }) => AND),
  Condition.transform((condition) => [condition]),
]);

/**
 * Reads Mem0's filters: conditions that all hold, one of which names the user. Anything else (`OR`, `NOT`,
 * `*`, other fields) is refused and never left out, or more would be found than was meant. Throws CodedError
 * `request_invalid`.
 */
export function readFilters(filters: unknown): Meant {
  const read = Filters.safeParse(filters);
  if (!read.success)
    throw refused(
      'can be user_id, agent_id, run_id, categories (one) and created_at (gte, lt), all of which hold; OR, NOT and * are not available',
    );
  const { user_id: owner, agent_id: agent, run_id: thread, categories, created_at } = joined(read.data);
  if (owner === undefined) throw refused('must name a user_id: whose memories are meant');
  return {
    owner,
    ...(agent === undefined ? {} : { agent }),
    ...(thread === undefined ? {} : { thread }),
    ...(categories === undefined ? {} : { category: categories }),
    ...(created_at?.gte === undefined ? {} : { created_after: created_at.gte }),
    ...(created_at?.lt === undefined ? {} : { created_before: created_at.lt }),
  };
}

/**
 * The same where the names (`user_id` and so on) may stand beside the filters, and all of it holds. Throws
 * CodedError `request_invalid`.
 */
export function readNamed(names: Readonly<Record<string, string | null | undefined>>, filters: unknown): Meant {
  const named = Object.fromEntries(Object.entries(names).filter(([, name]) => name !== undefined && name !== null));
  if (filters === undefined || filters === null) return readFilters(named);
  const all = z.strictObject({ AND: z.array(z.unknown()) }).safeParse(filters);
  return readFilters({ AND: [named, ...(all.success ? all.data.AND : [filters])] });
}

function joined(conditions: readonly Condition[]): Condition {
  const all: Record<string, unknown> = {};
  for (const [name, value] of conditions.flatMap((condition) => Object.entries(condition))) {
    if (Object.hasOwn(all, name)) throw refused(`names ${name} twice`);
    all[name] = value;
  }
  return all;
}

const refused = (why: string) => new CodedError('request_invalid', `filters: ${why}.`, { param: 'filters' });
