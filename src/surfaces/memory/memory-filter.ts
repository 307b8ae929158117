import { z } from 'zod';
import { MEMORY_TYPES, ORIGIN_KINDS, type MemoryEntry } from '../../proof/memory/entry.ts';
import { Time } from '../../proof/receipts/fields.ts';

/** Which memories are meant; what is not named excludes nothing. */
export const MemoryFilter = z.strictObject({
  type: z.enum(MEMORY_TYPES).optional().describe('`semantic`: what is so; `episodic`: what happened'),
  category: z.string().max(256).optional().describe('only of this category'),
  agent: z.string().max(256).optional().describe('only for this agent'),
  thread: z.string().max(256).optional().describe('only of this conversation'),
  source: z.string().max(256).optional().describe('the API key that wrote it'),
  trust: z.enum(ORIGIN_KINDS).optional().describe('the least trust: `import`, `tool`, `model`, `user`'),
  created_after: Time.optional().describe('only those remembered then or later'),
  created_before: Time.optional().describe('only those remembered earlier'),
  valid_at: Time.optional().describe('only what holds at this time, by `valid_from` and `valid_to`'),
  superseded: z.boolean().default(false).describe('whether those are included that another one supersedes'),
});
export type MemoryFilter = z.infer<typeof MemoryFilter>;

/**
 * Whether a memory is meant. `sources` are the API keys whose memories the caller may see, or null for all;
 * `isSuperseded` says whether another memory takes its place.
 */
export function matches(
  entry: MemoryEntry,
  filter: MemoryFilter,
  sources: ReadonlySet<string> | null,
  isSuperseded: boolean,
): boolean {
  if (!isOf(entry, sources)) return false;
  if (isSuperseded && !filter.superseded) return false;
  for (const name of ['type', 'category', 'agent', 'thread', 'source'] as const)
    if (filter[name] !== undefined && entry[name] !== filter[name]) return false;
  if (filter.trust !== undefined && ORIGIN_KINDS.indexOf(entry.trust) < ORIGIN_KINDS.indexOf(filter.trust))
    return false;
  if (filter.created_after !== undefined && entry.created_at < filter.created_after) return false;
  if (filter.created_before !== undefined && entry.created_at >= filter.created_before) return false;
  return filter.valid_at === undefined || holdsAt(entry, filter.valid_at);
}

/** Whether one of these API keys wrote a memory; null stands for all. */
export function isOf({ source }: Pick<MemoryEntry, 'source'>, sources: ReadonlySet<string> | null): boolean {
  return sources === null || (source !== null && sources.has(source));
}

function holdsAt({ valid_from, valid_to }: MemoryEntry, at: string): boolean {
  return (valid_from === null || valid_from <= at) && (valid_to === null || at < valid_to);
}
