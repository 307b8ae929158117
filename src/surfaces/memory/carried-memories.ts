import type { Database } from '../../ground/database/database.ts';
import { entryLine, lineDigest, type MemoryEntry, type MemoryTombstone } from '../../proof/memory/entry.ts';
import type { AccessLog } from './access-log.ts';
import type { Embedder } from './embedder.ts';
import type { Answer, Ask, Whose } from './memory-calls.ts';
import { requireName, setOf, withinPage, type MemoryParts } from './memories.ts';
import { isOf } from './memory-filter.ts';
import type { OpenedOwner } from './opened-owner.ts';
import type { Owners } from './owners.ts';
import type { Held } from './segment.ts';
import type { Tombstones } from './tombstones.ts';

/** Memories as they are carried from one instance to another. Any number of calls may run at once. */
export class CarriedMemories {
  readonly #database: Database;
  readonly #owners: Owners;
  readonly #accesses: AccessLog;
  readonly #embedder: Embedder;
  readonly #tombstones: Tombstones;

  constructor({ database, owners, accesses, embedder, tombstones }: MemoryParts) {
    this.#database = database;
    this.#owners = owners;
    this.#accesses = accesses;
    this.#embedder = embedder;
    this.#tombstones = tombstones;
  }

  /** The entries that go into an export, in the order of their ids as bytes. */
  async entryPage({ whose, after, limit }: Ask<'entryPage'>): Promise<MemoryEntry[]> {
    const found = await this.#withOwner(whose, async (owner) => {
      const page = owner
        .all()
        .map(({ entry }) => entry)
        .filter((entry) => isOf(entry, setOf(whose)) && (after === undefined || entry.id > after));
      const entries = withinPage(page.slice(0, limit));
      const ids = entries.map(({ id }) => id);
      // The last page of an export is empty, and reads nothing.
      if (ids.length > 0) await this.#accesses.note(owner.row.id, whose.by, 'export', ids);
      return entries;
    });
    return found ?? [];
  }

  /** What is left of memories that were taken away, in the order of their ids as bytes. */
  async tombstonePage({ whose, after, limit }: Ask<'tombstonePage'>): Promise<MemoryTombstone[]> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    if (row === undefined) return [];
    return this.#tombstones.page(row.id, after ?? '', limit);
  }

  /**
   * Takes entries in as they are, ids and histories too. One that is there with the same digest is `same`,
   * with another `conflict`, and one that was taken away here is `buried`; none of these changes anything. A
   * `conflict` is also what only another key may say. Nothing is written when it is `dry`.
   */
  async putEntries({ whose, entries, dry = false }: Ask<'putEntries'>): Promise<Answer<'putEntries'>> {
    const id = await this.#targetOf(whose, dry);
    if (id === undefined) return entries.map(() => 'kept');
    const vectors = dry ? [] : await this.#embedder.embed(entries.map(({ text }) => text));
    return this.#owners.with(id, async (owner) => {
      const buried = await this.#tombstones.among(id, entries);
      const isOfOther = othersIn(owner, setOf(whose));
      const fresh = new Map<string, Held>();
      const answers = entries.map((entry, at): Answer<'putEntries'>[number] => {
        if (buried.has(entry.id)) return 'buried';
        const known = fresh.get(entry.id) ?? owner.get(entry.id);
        if (known !== undefined) return digestOf(known.entry) === digestOf(entry) ? 'same' : 'conflict';
        if (isOfOther(entry)) return 'conflict';
        fresh.set(entry.id, { entry, vector: vectors[at] });
        return 'kept';
      });
      owner.requireRoomFor([...fresh.values()]);
      if (fresh.size > 0 && !dry) await this.#owners.write(owner, [...fresh.values()]);
      return answers;
    });
  }

  /**
   * Notes tombstones that came with an import; one of a memory that is here is a `conflict`. So is any new
   * one for who writes for some keys alone: it could keep out what others have not brought yet.
   */
  async buryMemories({ whose, tombstones, dry = false }: Ask<'buryMemories'>): Promise<Answer<'buryMemories'>> {
    const id = await this.#targetOf(whose, dry);
    if (id === undefined) return tombstones.map(() => 'kept');
    return this.#owners.with(id, async (owner) => {
      const buried = await this.#tombstones.among(id, tombstones);
      const mayBury = setOf(whose) === null;
      const answers = tombstones.map((one): Answer<'buryMemories'>[number] =>
        owner.get(one.id) !== undefined ? 'conflict' : buried.has(one.id) ? 'same' : mayBury ? 'kept' : 'conflict',
      );
      if (dry) return answers;
      const kept = tombstones.flatMap(({ removed_at, ...one }, at) =>
        answers[at] === 'kept' ? [{ ...one, removedMs: Date.parse(removed_at), erasure: null }] : [],
      );
      if (kept.length > 0)
        await this.#database.transaction((queries) =>
          this.#tombstones.bury(queries, { id, tenant: whose.tenant }, kept),
        );
      return answers;
    });
  }

  /** Where an import goes; undefined where it is dry and there is no such owner. */
  async #targetOf(whose: Whose, dry: boolean): Promise<string | undefined> {
    const name = requireName(whose);
    return dry ? (await this.#owners.find(whose.tenant, name))?.id : (await this.#owners.ensure(whose.tenant, name)).id;
  }

  async #withOwner<Result>(whose: Whose, work: (owner: OpenedOwner) => Promise<Result>): Promise<Result | undefined> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    return row === undefined ? undefined : this.#owners.with(row.id, work);
  }
}

/**
 * Tells entries that say they are of another app that has written here, or that take the place of its
 * memories: whoever writes for some API keys alone cannot say so.
 */
function othersIn(owner: OpenedOwner, sources: ReadonlySet<string> | null): (entry: MemoryEntry) => boolean {
  if (sources === null) return () => false;
  const others = new Set(owner.all().flatMap(({ entry }) => (isOf(entry, sources) ? [] : [entry.source])));
  return ({ source, supersedes }) =>
    (source !== null && others.has(source)) ||
    supersedes.some((id) => {
      const held = owner.get(id);
      return held !== undefined && !isOf(held.entry, sources);
    });
}

const digestOf = (entry: MemoryEntry) => lineDigest(entryLine(entry));
