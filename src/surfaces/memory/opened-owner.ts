import { CodedError } from '../../ground/errors/coded-error.ts';
import type { MemoryEntry } from '../../proof/memory/entry.ts';
import { isOf, matches, type MemoryFilter } from './memory-filter.ts';
import { CANDIDATES, rank, type MeaningMatch, type Ranked, type SearchMode } from './ranking.ts';
import { readingOf } from './reading.ts';
import type { Held, Vector } from './segment.ts';
import { TextIndex } from './text-index.ts';

/** A segment with fewer memories than this is put together with its neighbours in time. */
export const FULL_SEGMENT = 1_024;

/** Most memories of one owner, and most characters of their texts: they are opened and searched at once. */
const MAX_OF_OWNER = 100_000;
const MAX_CHARS_OF_OWNER = 32 * 1024 * 1024;

/** What an entry takes beside its text: the object, the index, the maps. A guess, and enough for a bound. */
const ENTRY_OVERHEAD = 2_048;

/** What two memories have in common that are one: all of it. */
type Content = Pick<MemoryEntry, 'type' | 'category' | 'agent' | 'thread' | 'valid_from' | 'valid_to' | 'text'>;

export interface SearchAsk {
  readonly query: string;
  readonly mode: SearchMode;
  readonly limit: number;
  readonly filter: MemoryFilter;
  readonly sources: ReadonlySet<string> | null;
  /** The vector of the query; undefined where only words are compared. */
  readonly vector: Vector | undefined;
}

/** A memory that a search found, and why. */
export type FoundMemory = Ranked & { readonly entry: MemoryEntry };

/** Where an owner stands in the database. */
export interface OwnerRow {
  readonly id: string;
  readonly tenant: string;
  readonly keyVersion: number;
}

/**
 * The memories of one owner, opened: all of them are in this process's memory, so that a search compares
 * every vector and no index can leave one out. Only who holds the owner's turn may change it.
 */
export class OpenedOwner {
  readonly row: OwnerRow;
  readonly key: Buffer;
  /** The number of the next segment. */
  nextSeq = 0;
  /** The segments that are not full yet, oldest first, with the ids that stand in each. */
  tail: { readonly seq: number; readonly ids: readonly string[] }[] = [];
  usedMs = Date.now();
  #bytes = 0;
  #chars = 0;
  readonly #held = new Map<string, Held>();
  /** Made at the first search: many owners are only written to. */
  #text: TextIndex | undefined;
  /** All in order, until one is put: an export asks for it page by page. */
  #sorted: readonly Held[] | undefined;
  readonly #byContent = new Map<string, Set<string>>();
  readonly #supersededBy = new Map<string, Set<string>>();

  constructor(row: OwnerRow, key: Buffer) {
    this.row = row;
    this.key = key;
  }

  /** How much of this process's memory it takes, roughly. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#held.size;
  }

  get(id: string): Held | undefined {
    return this.#held.get(id);
  }

  /** All of them, in the order of their ids as bytes. */
  all(): readonly Held[] {
    this.#sorted ??= [...this.#held.values()].sort((a, b) => (a.entry.id < b.entry.id ? -1 : 1));
    return this.#sorted;
  }

  /**
   * Throws CodedError `too_many_memories` where these, new ones and new states of old ones, would be more
   * than an owner may have: whoever opened it would hold up, or bring down, the memory of everybody.
   */
  requireRoomFor(held: readonly Held[]): void {
    const added = held.filter(({ entry }) => !this.#held.has(entry.id)).length;
    const before = held.flatMap(({ entry }) => this.#held.get(entry.id) ?? []);
    const more = charsOf(held) - charsOf(before);
    if ((added > 0 && this.#held.size + added > MAX_OF_OWNER) || (more > 0 && this.#chars + more > MAX_CHARS_OF_OWNER))
      throw new CodedError(
        'too_many_memories',
        `An owner has at most ${MAX_OF_OWNER} memories, and ${MAX_CHARS_OF_OWNER} characters in all their texts.`,
      );
  }

  /** So many at most whose vector is of another embedder, or missing. */
  embeddedOtherwise(embedder: string, most: number): Held[] {
    const found: Held[] = [];
    for (const held of this.#held.values()) {
      if (found.length === most) break;
      if (held.vector?.embedder !== embedder) found.push(held);
    }
    return found;
  }

  /** Puts a memory in, in the place of what it was before. */
  put(held: Held): void {
    const { entry } = held;
    const before = this.#held.get(entry.id);
    if (before !== undefined) this.#forget(before);
    this.#sorted = undefined;
    this.#held.set(entry.id, held);
    this.#text?.put(entry.id, entry.text);
    const same = this.#byContent.get(contentKey(entry)) ?? new Set();
    this.#byContent.set(contentKey(entry), same.add(entry.id));
    for (const id of entry.supersedes) {
      const by = this.#supersededBy.get(id) ?? new Set();
      this.#supersededBy.set(id, by.add(entry.id));
    }
    this.#bytes += bytesOf(held);
    this.#chars += charsOf([held]);
  }

  /**
   * The memory of these sources that says the same of the same, and is none of `others`; undefined where none
   * does. One that another has taken the place of does not count: who says it again says that it holds again.
   */
  same(entry: Content, sources: ReadonlySet<string> | null, others: ReadonlySet<string>): Held | undefined {
    const ids = [...(this.#byContent.get(contentKey(entry)) ?? [])].sort();
    return ids
      .filter((id) => !others.has(id) && !this.isSuperseded(id))
      .map((id) => this.#held.get(id))
      .find((held) => held !== undefined && isOf(held.entry, sources));
  }

  isSuperseded(id: string): boolean {
    return (this.#supersededBy.get(id)?.size ?? 0) > 0;
  }

  /** Those that the filter means and the caller may see, newest first. */
  list(filter: MemoryFilter, sources: ReadonlySet<string> | null): MemoryEntry[] {
    return [...this.#held.values()]
      .map(({ entry }) => entry)
      .filter((entry) => matches(entry, filter, sources, this.isSuperseded(entry.id)))
      .sort((a, b) => (a.id > b.id ? -1 : 1));
  }

  /** What a search finds, best first: the filter is applied before anything is ranked, and not after it. */
  search({ query, mode, limit, filter, sources, vector }: SearchAsk): FoundMemory[] {
    const isWanted = (id: string) => {
      const held = this.#held.get(id);
      return held !== undefined && matches(held.entry, filter, sources, this.isSuperseded(id));
    };
    const most = Math.max(limit, CANDIDATES);
    const meaning = mode === 'text' || vector === undefined ? [] : this.#nearest(vector, isWanted, most);
    const text = mode === 'semantic' ? [] : this.#index().search(query, isWanted, most);
    return rank(mode, meaning, text)
      .slice(0, limit)
      .flatMap((found) => {
        const held = this.#held.get(found.id);
        return held === undefined ? [] : [{ ...found, entry: held.entry }];
      });
  }

  /** Empties it, and overwrites what can be overwritten: the key and the vectors. */
  wipe(): void {
    this.key.fill(0);
    for (const { vector } of this.#held.values()) vector?.values.fill(0);
    this.#held.clear();
    [this.#text, this.#sorted] = [undefined, undefined];
  }

  #index(): TextIndex {
    if (this.#text !== undefined) return this.#text;
    const index = new TextIndex();
    for (const [id, { entry }] of this.#held) index.put(id, entry.text);
    return (this.#text = index);
  }

  #nearest(vector: Vector, isWanted: (id: string) => boolean, most: number): MeaningMatch[] {
    const found: MeaningMatch[] = [];
    for (const [id, { vector: own }] of this.#held)
      if (own?.embedder === vector.embedder && isWanted(id))
        found.push({ id, similarity: product(own.values, vector.values) });
    return found.sort((a, b) => b.similarity - a.similarity || (a.id < b.id ? -1 : 1)).slice(0, most);
  }

  #forget(held: Held): void {
    const { entry } = held;
    this.#text?.remove(entry.id, entry.text);
    const same = this.#byContent.get(contentKey(entry));
    if (same?.delete(entry.id) === true && same.size === 0) this.#byContent.delete(contentKey(entry));
    for (const id of entry.supersedes) this.#supersededBy.get(id)?.delete(entry.id);
    this.#bytes -= bytesOf(held);
    this.#chars -= charsOf([held]);
  }
}

function product(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < a.length; at += 1) sum += (a[at] ?? 0) * (b[at] ?? 0);
  return sum;
}

function bytesOf(held: Held): number {
  return ENTRY_OVERHEAD + 4 * charsOf([held]) + (held.vector === undefined ? 0 : held.vector.values.byteLength);
}

/** Characters of texts, former ones too. */
function charsOf(held: readonly Held[]): number {
  return held.flatMap(({ entry }) => [entry, ...entry.history]).reduce((sum, { text }) => sum + text.length, 0);
}

/** Two memories with the same key say the same of the same, for the same time. */
export function contentKey({ type, category, agent, thread, valid_from, valid_to, text }: Content): string {
  return JSON.stringify([type, category, agent, thread, valid_from, valid_to, readingOf(text)]);
}
