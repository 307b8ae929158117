import { z } from 'zod';
import type { Database } from '../../ground/database/database.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { MemoryEntry, OriginKind } from '../../proof/memory/entry.ts';
import type { AccessLog } from './access-log.ts';
import type { Embedder } from './embedder.ts';
import type { Answer, Ask, Whose } from './memory-calls.ts';
import { corrected, entryOf, requireTrust, withOrigin, type MemoryDraft } from './memory-drafts.ts';
import { isOf } from './memory-filter.ts';
import { contentKey, type OpenedOwner } from './opened-owner.ts';
import type { Owners } from './owners.ts';
import { profileOf } from './profile.ts';
import type { Held } from './segment.ts';
import type { Tombstones } from './tombstones.ts';

/** Entries have long histories; three bytes of UTF-8 each, they fit into an answer of the memory. */
const MAX_PAGE_CHARS = 16_000_000;
/** A memory whose vector was made by another embedder is embedded again, so many at a time. */
const EMBEDDED_AT_ONCE = 64;

const Place = z.object({ owner: z.string() });
export interface MemoryParts {
  readonly database: Database;
  readonly owners: Owners;
  readonly accesses: AccessLog;
  readonly embedder: Embedder;
  readonly tombstones: Tombstones;
}

/**
 * What owners remember: written, found, corrected. Every read is in the owner's access log before it is
 * answered. Any number of calls may run at once.
 */
export class Memories {
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

  /**
   * Remembers, all or none. What is there already gets one more origin in place of a second entry. A draft
   * whose id is there was written before, and stays. Throws CodedErrors `memory_not_found` for a memory that
   * it names, `trust_too_low`, `too_many_memories`, and `erased` where an id of it was erased.
   */
  async add({ whose, drafts }: Ask<'add'>): Promise<Answer<'add'>> {
    const { id } = await this.#owners.ensure(whose.tenant, requireName(whose));
    return this.addTo(id, setOf(whose), drafts, async () => {
      await this.#requireUnburied(id, drafts);
      return drafts;
    });
  }

  /**
   * The same for an owner by the id of its row, who must be there. `chosen` says in the owner's turn what is
   * remembered of it.
   */
  async addTo(
    id: string,
    sources: ReadonlySet<string> | null,
    all: readonly MemoryDraft[],
    chosen: (owner: OpenedOwner) => Promise<readonly MemoryDraft[]>,
  ): Promise<Answer<'add'>> {
    const texts = all.map(({ text }) => text);
    const vectors = new Map((await this.#embedder.embed(texts)).map((vector, at) => [texts[at] ?? '', vector]));
    return this.#owners.with(id, async (owner) => {
      const drafts = await chosen(owner);
      const staged = new Map<string, Held>();
      const stagedOf = new Map<string, string[]>();
      const stage = (held: Held, content: string) => {
        const { id: one } = held.entry;
        if (!staged.has(one)) stagedOf.set(content, [...(stagedOf.get(content) ?? []), one]);
        staged.set(one, held);
      };
      // What one of them takes the place of, or contradicts, is not the same, however it reads.
      const replaced = drafts.flatMap(({ supersedes }) => supersedes);
      const answers = drafts.map((draft): Answer<'add'>[number] => {
        const find = (one: string) => staged.get(one) ?? owner.get(one);
        const known = find(draft.id);
        if (known !== undefined) return { outcome: 'known', entry: known.entry };
        const trusts = trustsOf(draft, sources, find);
        const others = new Set([...replaced, ...draft.contradicts]);
        const content = contentKey(draft);
        const alike = stagedOf.get(content)?.find((one) => !others.has(one));
        const same = (alike === undefined ? undefined : staged.get(alike)) ?? owner.same(draft, sources, others);
        if (same !== undefined) {
          const entry = withOrigin(find(same.entry.id)?.entry ?? same.entry, draft.origin, trusts, Date.now());
          stage({ entry, vector: same.vector }, content);
          return { outcome: 'merged', entry };
        }
        const entry = entryOf(draft, trusts, Date.now());
        for (const target of draft.supersedes) requireTrust(entry.trust, find(target)?.entry ?? entry);
        stage({ entry, vector: vectors.get(entry.text) }, content);
        return { outcome: 'created', entry };
      });
      const changed = [...staged.values()].filter(({ entry }) => owner.get(entry.id)?.entry !== entry);
      owner.requireRoomFor(changed);
      if (changed.length > 0) await this.#owners.write(owner, changed);
      return answers;
    });
  }

  /** Throws CodedErrors `memory_not_found` and `erased`. */
  get({ whose, id, action }: Ask<'get'>): Promise<MemoryEntry> {
    return this.withOne(whose, id, async (owner, { entry }) => {
      await this.#accesses.note(owner.row.id, whose.by, action, [id]);
      return entry;
    });
  }

  /** Throws CodedErrors `memory_not_found` and `erased` where the memory is not there for the caller. */
  require({ whose, id }: Ask<'require'>): Promise<null> {
    return this.withOne(whose, id, () => Promise.resolve(null));
  }

  /** Newest first; nothing where there is no such owner. */
  async list({ whose, filter, limit, before }: Ask<'list'>): Promise<Answer<'list'>> {
    const found = await this.#withNamed(whose, async (owner) => {
      const all = owner.list(filter, setOf(whose)).filter(({ id }) => before === undefined || id < before);
      const entries = withinPage(all.slice(0, limit));
      await this.#accesses.note(
        owner.row.id,
        whose.by,
        'list',
        entries.map(({ id }) => id),
      );
      return { entries, more: all.length > entries.length };
    });
    return found ?? { entries: [], more: false };
  }

  /**
   * What holds now, or at the time of the filter, made anew each time. Throws CodedError `owner_not_found`
   * where the caller may see no memory of such an owner.
   */
  async profile({ whose, filter, ...bounds }: Ask<'profile'>): Promise<Answer<'profile'>> {
    const at = filter.valid_at ?? new Date().toISOString();
    const found = await this.#withNamed(whose, async (owner) => {
      if (owner.all().every(({ entry }) => !isOf(entry, setOf(whose)))) return undefined;
      const profile = profileOf(owner.list({ ...filter, valid_at: at }, setOf(whose)), at, bounds);
      const ids = profile.sections.flatMap(({ lines }) => lines.flatMap(({ memories }) => memories));
      await this.#accesses.note(owner.row.id, whose.by, 'profile', ids);
      return profile;
    });
    if (found === undefined) throw ownerNotFound();
    return found;
  }

  /** Best first; nothing where there is no such owner. */
  async search({ whose, query, mode, limit, filter, action = 'search' }: Ask<'search'>): Promise<Answer<'search'>> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    if (row === undefined) return [];
    const [vector] = mode === 'text' ? [] : await this.#embedder.embed([query]);
    const found = await this.#owners.search(
      row.id,
      { query, mode, limit, filter, sources: setOf(whose), vector },
      {
        renew: (owner) => (vector === undefined ? Promise.resolve() : this.#embedAgain(owner, vector.embedder)),
        note: (results) => {
          const ids = results.map(({ id }) => id);
          return this.#accesses.note(row.id, whose.by, action, ids);
        },
      },
    );
    return found.map(({ entry, score, semantic, text }) => ({
      entry,
      score,
      semantic,
      text: text === null ? null : { ...text, words: [...text.words] },
    }));
  }

  /** Throws CodedErrors `memory_not_found`, `erased`, `trust_too_low`, `too_many_memories`. */
  correct({ whose, id, change, origin }: Ask<'correct'>): Promise<MemoryEntry> {
    return this.withOne(whose, id, async (owner, held) => {
      const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
      const entry = corrected(held.entry, given, origin, Date.now());
      if (entry !== held.entry) {
        owner.requireRoomFor([{ ...held, entry }]);
        const isNew = entry.text !== held.entry.text;
        const vector = isNew ? (await this.#embedder.embed([entry.text]))[0] : held.vector;
        await this.#owners.write(owner, [{ entry, vector }]);
      }
      // Who changes nothing is answered the memory all the same.
      await this.#accesses.note(owner.row.id, whose.by, 'correct', [id]);
      return entry;
    });
  }

  /** The owner's log of reads, newest first. Throws CodedError `owner_not_found`. */
  async accessesOf({ whose, limit, before }: Ask<'accesses'>): Promise<Answer<'accesses'>> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    if (row === undefined) throw ownerNotFound();
    return this.#accesses.list(row.id, limit, before);
  }

  /**
   * Embeds again, in steps, what another embedder embedded; a search meanwhile finds those by their words.
   */
  async #embedAgain(owner: OpenedOwner, embedder: string): Promise<void> {
    const page = owner.embeddedOtherwise(embedder, EMBEDDED_AT_ONCE);
    if (page.length === 0) return;
    const vectors = await this.#embedder.embed(page.map(({ entry }) => entry.text));
    await this.#owners.write(
      owner,
      page.map(({ entry }, at) => ({ entry, vector: vectors[at] })),
    );
  }

  /** Does something with the owner that is named; undefined where there is none. */
  async #withNamed<Result>(whose: Whose, work: (owner: OpenedOwner) => Promise<Result>): Promise<Result | undefined> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    return row === undefined ? undefined : this.#owners.with(row.id, work);
  }

  /**
   * Does something with one memory that the caller may see. Throws CodedErrors `memory_not_found`, `erased`.
   */
  async withOne<Result>(
    whose: Whose,
    id: string,
    work: (owner: OpenedOwner, held: Held) => Promise<Result>,
  ): Promise<Result> {
    const place = await this.placeOf(whose, id);
    return this.#owners.with(place, async (owner) => {
      const held = owner.get(id);
      if (held === undefined || !isOf(held.entry, setOf(whose))) {
        await this.#requireUnburied(place, [{ id }]);
        throw notFound();
      }
      return work(owner, held);
    });
  }

  /**
   * The owner who has a memory, or had it. Throws CodedErrors `memory_not_found`, and `request_invalid` where
   * several have one of this id and none is named.
   */
  async placeOf(whose: Pick<Whose, 'tenant' | 'owner'>, id: string): Promise<string> {
    if (whose.owner !== null) {
      const row = await this.#owners.find(whose.tenant, whose.owner);
      if (row === undefined) throw notFound();
      return row.id;
    }
    const rows = await this.#database.rows(
      `select owner from memory where tenant = $1 and id = $2
       union select owner from tombstone where tenant = $1 and id = $2 limit 2`,
      [whose.tenant, id],
    );
    const [first, second] = rows.map((row) => Place.parse(row).owner);
    if (first === undefined) throw notFound();
    if (second !== undefined)
      throw new CodedError('request_invalid', 'Several owners have a memory of this id; name the owner.', {
        param: 'owner',
      });
    return first;
  }

  async #requireUnburied(owner: string, them: readonly { readonly id: string }[]): Promise<void> {
    const [first] = await this.#tombstones.among(owner, them);
    if (first !== undefined) throw new CodedError('erased', `The memory ${first} was erased.`);
  }
}

export function ownerNotFound(): CodedError {
  return new CodedError('owner_not_found', 'There is no such owner of memories.');
}

export function notFound(): CodedError {
  return new CodedError('memory_not_found', 'There is no such memory.');
}

/** Throws CodedError `request_invalid` where no owner is named. */
export function requireName({ owner }: Pick<Whose, 'owner'>): string {
  if (owner === null) throw new CodedError('request_invalid', 'Name the owner.', { param: 'owner' });
  return owner;
}

export function setOf({ sources }: Pick<Whose, 'sources'>): ReadonlySet<string> | null {
  return sources === null ? null : new Set(sources);
}

/** The first entries that fit into one answer with their histories, at least one of them. */
export function withinPage(entries: readonly MemoryEntry[]): MemoryEntry[] {
  let left = MAX_PAGE_CHARS;
  return entries.filter((entry, at) => {
    left -= left < 0 ? 0 : JSON.stringify(entry).length;
    return at === 0 || left >= 0;
  });
}

/**
 * The trusts of what a draft rests on. Everything that it names must be there for its writer. Throws
 * CodedError `memory_not_found`.
 */
export function trustsOf(
  { supersedes, contradicts, origin }: Pick<MemoryDraft, 'supersedes' | 'contradicts' | 'origin'>,
  sources: ReadonlySet<string> | null,
  find: (id: string) => Held | undefined,
): OriginKind[] {
  const require = (id: string) => {
    const held = find(id);
    if (held === undefined || !isOf(held.entry, sources))
      throw new CodedError('memory_not_found', `There is no memory ${id}, which this one names.`);
    return held.entry;
  };
  for (const id of [...supersedes, ...contradicts]) require(id);
  return origin.rests_on.map((id) => require(id).trust);
}
