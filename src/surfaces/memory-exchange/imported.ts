import { z } from 'zod';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { ENTRY_LIMITS, MemoryEntry, type MemoryTombstone } from '../../proof/memory/entry.ts';

const { shape } = MemoryEntry;

/** What an importer makes of one thing in a file: what a memory can say, without the platform's stamps. */
export const ImportedMemory = z.strictObject({
  type: shape.type,
  text: shape.text,
  category: shape.category,
  agent: shape.agent,
  thread: shape.thread,
  valid_from: shape.valid_from,
  valid_to: shape.valid_to,
  metadata: shape.metadata,
  /** The product that it comes from, and the id that it had there. */
  from: z.string().min(1).max(256),
  reference: z.string().min(1).max(512).nullable(),
});
export type ImportedMemory = z.infer<typeof ImportedMemory>;

/**
 * What became of one thing that was read: a memory to be stamped here, an entry or a tombstone that keeps its
 * own stamps, or why there is neither. `where` leads a person to it.
 */
export type ImportItem =
  | { readonly kind: 'memory'; readonly memory: ImportedMemory; readonly where: string }
  | { readonly kind: 'entry'; readonly entry: MemoryEntry; readonly where: string }
  | { readonly kind: 'tombstone'; readonly tombstone: MemoryTombstone; readonly where: string }
  | { readonly kind: 'skipped'; readonly reason: string; readonly where: string }
  | { readonly kind: 'fault'; readonly why: string; readonly where: string };

/** One file to import from; a zip gives several. Names tell files apart, and are no paths. */
export interface ImportFile {
  readonly name: string;
  open(): AsyncIterable<Uint8Array>;
}

type Wanted = Pick<ImportedMemory, 'text' | 'from'> & Partial<ImportedMemory>;

/**
 * The items of one thing that a file says: a memory, or several where its text is longer than one may be, or
 * why there is none. Nothing is cut away.
 */
export function* itemsOf(wanted: Wanted, where: string): Generator<ImportItem> {
  const text = wanted.text.trim();
  if (text === '') {
    yield { kind: 'skipped', reason: 'empty', where };
    return;
  }
  const parts = partsOf(text);
  for (const [at, part] of parts.entries()) {
    const reference = wanted.reference ?? null;
    const memory = ImportedMemory.safeParse({
      ...{
        type: 'semantic',
        category: null,
        agent: null,
        thread: null,
        valid_from: null,
        valid_to: null,
        metadata: {},
      },
      ...wanted,
      text: part,
      reference: reference === null || parts.length === 1 ? reference : `${reference}#${at + 1}`,
    });
    const why = memory.success ? whyUnwritable(memory.data) : whyOf(memory.error);
    if (memory.success && why === undefined) yield { kind: 'memory', memory: memory.data, where };
    else yield { kind: 'fault', where, why: why ?? 'it is not as expected' };
  }
}

export function whyOf({ issues: [issue] }: z.ZodError): string {
  return issue === undefined ? 'it is not as expected' : `${issue.path.join('.')}: ${issue.message}`;
}

/** Half a character has no UTF-8, and so no entry can hold it. */
function whyUnwritable(memory: ImportedMemory): string | undefined {
  try {
    canonicalJson(memory);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** The text in parts that are short enough, cut between lines where they have some. */
function partsOf(text: string): string[] {
  const parts: string[] = [];
  let rest = text;
  while (rest.length > ENTRY_LIMITS.textChars) {
    const window = rest.slice(0, ENTRY_LIMITS.textChars);
    const line = window.lastIndexOf('\n');
    const isHalf = /[\ud800-\udbff]$/.test(window);
    const end = line > ENTRY_LIMITS.textChars / 2 ? line : window.length - (isHalf ? 1 : 0);
    parts.push(rest.slice(0, end).trim());
    rest = rest.slice(end).trim();
  }
  return [...parts, rest].filter((part) => part !== '');
}

/** A name of at most 256 characters, or null. */
export function labelOf(text: string | null | undefined): string | null {
  const trimmed = text?.trim() ?? '';
  return trimmed === '' ? null : Array.from(trimmed).slice(0, 128).join('');
}

/** A time in the form of an entry, of ISO 8601 or of seconds since 1970; null where it is none. */
export function timeOf(value: string | number | null | undefined): string | null {
  const ms = typeof value === 'number' ? value * 1_000 : Date.parse(value ?? '');
  return ms >= -62_135_596_800_000 && ms < 253_402_300_800_000 ? new Date(ms).toISOString() : null;
}
