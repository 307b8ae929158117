import { z } from 'zod';
import { MEMORY_TYPES, MemoryEntry, ORIGIN_KINDS } from '../../proof/memory/entry.ts';
import { MemoryId, Time } from '../../proof/receipts/fields.ts';
import { readingOf } from './reading.ts';

/** Most lines of a profile, and of one category in it. */
export const MAX_LINES = 200;
export const MAX_LINES_OF_EACH = 50;
/** Memories that one line names; what else says the same is no more of a reason. */
const MAX_NAMED = 64;

const { text, category, trust } = MemoryEntry.shape;

/** What is known of an owner, each line with the memories that it rests on. */
export const Profile = z.strictObject({
  at: Time.describe('what holds at this time'),
  sections: z.array(
    z.strictObject({
      type: z.enum(MEMORY_TYPES),
      category,
      lines: z.array(
        z.strictObject({
          text,
          trust: trust.describe('that of the memories that it rests on'),
          updated_at: Time,
          memories: z.array(MemoryId).describe('what it rests on, newest first'),
          contradicted_by: z.array(MemoryId).describe('what is known here that says otherwise'),
        }),
      ),
    }),
  ),
  left_out: z.int().describe('lines for which there was no room'),
});
export type Profile = z.infer<typeof Profile>;

type Line = Profile['sections'][number]['lines'][number];
interface Placed {
  readonly line: Line;
  readonly type: MemoryEntry['type'];
  readonly category: string | null;
}

/** How much of a profile is wanted. */
export interface ProfileBounds {
  readonly lines: number;
  readonly ofEach: number;
}

/**
 * The profile of these memories, which are those that hold `at` a time. It is made of them and nothing else,
 * in one order: the most trusted first, then the newest. Memories that read the same are one line, which
 * rests on the most trusted of them, and is trusted as these. What two memories say of each other, that they
 * contradict, is said of both.
 */
export function profileOf(entries: readonly MemoryEntry[], at: string, { lines, ofEach }: ProfileBounds): Profile {
  const all = linesOf(entries.toSorted(inOrder));
  const counts = new Map<string, number>();
  const shown = all
    .filter((one) => {
      const section = sectionOf(one);
      const count = (counts.get(section) ?? 0) + 1;
      counts.set(section, count);
      return count <= ofEach;
    })
    .slice(0, lines);
  const sections = new Map<string, Profile['sections'][number]>();
  for (const one of shown) {
    const { type, category: of, line } = one;
    const section = sections.get(sectionOf(one)) ?? { type, category: of, lines: [] };
    section.lines.push(line);
    sections.set(sectionOf(one), section);
  }
  return {
    at,
    sections: [...sections].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, section]) => section),
    left_out: all.length - shown.length,
  };
}

/** One line for all that reads the same, in the order in which the memories stand. */
function linesOf(entries: readonly MemoryEntry[]): Placed[] {
  const against = contradictions(entries);
  const placed = new Map<string, Placed>();
  for (const { id, type, category: of, text: said, trust: trusted, updated_at } of entries) {
    const key = JSON.stringify([type, of, readingOf(said)]);
    const known = placed.get(key)?.line;
    const contradicted = [...(against.get(id) ?? [])];
    if (known === undefined) {
      const line = { text: said, trust: trusted, updated_at, memories: [id], contradicted_by: contradicted };
      placed.set(key, { line, type, category: of });
    } else if (known.trust === trusted && known.memories.length < MAX_NAMED) {
      known.memories.push(id);
      known.contradicted_by = [...new Set([...known.contradicted_by, ...contradicted])].slice(0, MAX_NAMED);
    }
  }
  return [...placed.values()];
}

/** For each memory those that it contradicts or that contradict it, of these. */
function contradictions(entries: readonly MemoryEntry[]): Map<string, Set<string>> {
  const here = new Set(entries.map(({ id }) => id));
  const found = new Map<string, Set<string>>();
  const note = (id: string, other: string) => found.set(id, (found.get(id) ?? new Set()).add(other));
  for (const { id, contradicts } of entries)
    for (const other of contradicts)
      if (here.has(other)) {
        note(id, other);
        note(other, id);
      }
  return found;
}

function inOrder(a: MemoryEntry, b: MemoryEntry): number {
  return (
    ORIGIN_KINDS.indexOf(b.trust) - ORIGIN_KINDS.indexOf(a.trust) ||
    compare(b.updated_at, a.updated_at) ||
    compare(b.id, a.id)
  );
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** Facts stand before what happened, named categories before the rest. */
const sectionOf = ({ type, category: of }: Placed) =>
  JSON.stringify([MEMORY_TYPES.indexOf(type), of === null ? 1 : 0, of]);
