import { createHmac } from 'node:crypto';
import { z } from 'zod';
import type { Database, Queries } from '../../ground/database/database.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { resealReceipts } from './kept-receipts.ts';
import type { KeyStore } from './key-store.ts';
import { FULL_SEGMENT, OpenedOwner, type FoundMemory, type OwnerRow, type SearchAsk } from './opened-owner.ts';
import { upsertMemories, type Retention } from './memory-rows.ts';
import { SearchThread } from './search-thread-link.ts';
import { seal, unseal } from './sealing.ts';
import { insertSegments, openSegment, pagesOf, segmentsFrom } from './sealed-segments.ts';
import type { Held } from './segment.ts';

/** So many small segments may an owner have; then they are put together. */
const MAX_TAIL = 64;
/** An owner that nobody uses is closed after this time. */
const IDLE_MS = 300_000;
/** One with more memories is searched in a thread, so that nobody else waits for that. */
const LARGE_FROM = 10_000;
/** The holder of the key by which names are looked up. */
const LOOKUP = 'lookup';

const Row = z
  .object({ id: z.string(), tenant: z.string(), key_version: z.coerce.number() })
  .transform(({ id, tenant, key_version }): OwnerRow => ({ id, tenant, keyVersion: key_version }));
const Sum = z.object({ entries: z.coerce.number() });
const OWNER = 'select id, tenant, key_version from owner';

interface OwnerParts {
  readonly database: Database;
  readonly keys: KeyStore;
  /** How much of this process's memory opened owners may take, in bytes. */
  readonly openBytes: number;
  readonly keptMs: Retention;
  /** Owners with more memories than this are searched in a thread of their own. */
  readonly largeFrom?: number | undefined;
  /** The program of that thread. */
  readonly threadFile?: URL | undefined;
}

/** What is done in the turn of an owner around a search. */
export interface SearchSteps {
  /** Before it, where memories have vectors of another embedder than the query. */
  readonly renew: (owner: OpenedOwner) => Promise<void>;
  /** Before it is answered. */
  readonly note: (found: readonly FoundMemory[]) => Promise<void>;
}

/**
 * The owners and their sealed segments. An owner's name is kept sealed, and found by an HMAC of it. Work on
 * one owner is done one after the other, on different ones at once.
 */
export class Owners {
  readonly #database: Database;
  readonly #keys: KeyStore;
  readonly #openBytes: number;
  readonly #keptMs: Retention;
  readonly #opened = new Map<string, OpenedOwner>();
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #largeFrom: number;
  readonly #thread: SearchThread;
  #lookupKey: Buffer | undefined;

  constructor({ database, keys, openBytes, keptMs, largeFrom = LARGE_FROM, threadFile }: OwnerParts) {
    this.#database = database;
    this.#keys = keys;
    this.#openBytes = openBytes;
    this.#keptMs = keptMs;
    this.#largeFrom = largeFrom;
    this.#thread = new SearchThread({ database, openBytes, isUsed: (id) => this.#turns.has(id), file: threadFile });
  }

  /** The owner of this name; undefined where the tenant has none. */
  async find(tenant: string, name: string): Promise<OwnerRow | undefined> {
    const rows = await this.#database.rows(`${OWNER} where lookup = $1`, [await this.#lookup(tenant, name)]);
    return rows.map((row) => Row.parse(row))[0];
  }

  /**
   * The owner of this name, made where there is none. Any number of callers may make the same one at once.
   * Throws CodedError `tenant_deleted` where the tenant was closed.
   */
  async ensure(tenant: string, name: string): Promise<OwnerRow> {
    const lookup = await this.#lookup(tenant, name);
    return this.#inTurn(lookup, async () => {
      const known = await this.find(tenant, name);
      if (known !== undefined) return known;
      return this.#inTurn(tenantTurn(tenant), () => this.#create(tenant, name, lookup));
    });
  }

  /** When this resolves, nobody makes an owner of this tenant any more: it is being deleted. */
  closeTenant(tenant: string): Promise<null> {
    return this.#inTurn(tenantTurn(tenant), async () => {
      await this.#database.rows('insert into tenant_gone (tenant) values ($1) on conflict do nothing', [tenant]);
      return null;
    });
  }

  async #create(tenant: string, name: string, lookup: string): Promise<OwnerRow> {
    const gone = await this.#database.rows('select tenant from tenant_gone where tenant = $1', [tenant]);
    if (gone.length > 0) throw new CodedError('tenant_deleted', 'This tenant is deleted, and remembers nothing more.');
    const id = `own_${freshRandom(12).toString('hex')}`;
    // A crash here leaves a key that seals nothing.
    const key = await this.#keys.create(id, 1);
    await this.#database.transaction(({ rows }) =>
      rows('insert into owner (id, tenant, lookup, name, key_version, created_ms) values ($1, $2, $3, $4, 1, $5)', [
        id,
        tenant,
        lookup,
        seal(key, [id, 'name'], Buffer.from(name)),
        Date.now(),
      ]),
    );
    return { id, tenant, keyVersion: 1 };
  }

  /** The names of a tenant's owners, in the order in which they came. */
  async names(tenant: string): Promise<string[]> {
    const Named = z.object({ id: z.string(), key_version: z.coerce.number(), name: z.instanceof(Uint8Array) });
    const rows = await this.#database.rows(
      'select id, key_version, name from owner where tenant = $1 and erased_ms is null order by created_ms, id',
      [tenant],
    );
    const names = await Promise.all(
      rows.map(async (row) => {
        const { id, key_version, name } = Named.parse(row);
        const key = await this.#keys.get(id, key_version);
        return key === undefined ? undefined : unseal(key, [id, 'name'], name)?.toString('utf8');
      }),
    );
    return names.filter((name) => name !== undefined);
  }

  /**
   * Does something with the opened memories of an owner, alone. Throws CodedError `owner_not_found` where the
   * owner was erased meanwhile, and `record_unreadable` where the segments cannot be opened.
   */
  with<Result>(id: string, work: (owner: OpenedOwner) => Promise<Result>): Promise<Result> {
    return this.#inTurn(id, () => this.#use(id, work));
  }

  /**
   * What a search of an owner finds, best first. One with many memories is opened and searched in a thread,
   * where it is a second time as long as it is used. Throws like `with`, and CodedError `memory_unavailable`
   * where that thread ends before it answers.
   */
  search(id: string, ask: SearchAsk, { renew, note }: SearchSteps): Promise<readonly FoundMemory[]> {
    return this.#inTurn(id, async () => {
      if ((await this.#sizeOf(id)) <= this.#largeFrom)
        return this.#use(id, async (owner) => {
          await renew(owner);
          const found = owner.search(ask);
          await note(found);
          return found;
        });
      const { row, key } = await this.#access(id);
      try {
        const catchUp = async () => {
          if (!(await this.#thread.catchUp(row, key))) throw unreadable(id);
        };
        await catchUp();
        if (await this.#thread.isBehind(id, ask.vector?.embedder)) {
          await this.#use(id, renew);
          await catchUp();
        }
        const found = await this.#thread.search(id, ask);
        await note(found);
        return found;
      } finally {
        key.fill(0);
      }
    });
  }

  /**
   * Writes memories, new ones and new states of old ones, in one step: all of them or none. Only within
   * `with`.
   */
  async write(owner: OpenedOwner, held: readonly Held[]): Promise<void> {
    const { row } = owner;
    const seq = owner.nextSeq;
    const merges = owner.tail.length >= MAX_TAIL ? owner.tail : [];
    const ids = [...new Set([...merges.flatMap((one) => one.ids), ...held.map(({ entry }) => entry.id)])];
    const isLast = new Map(held.map((one) => [one.entry.id, one]));
    const content = ids.flatMap((id) => isLast.get(id) ?? owner.get(id) ?? []);
    const pages = pagesOf(content);
    await this.#database.transaction(async (queries) => {
      if (merges.length > 0)
        await queries.rows('delete from segment where owner = $1 and seq >= $2', [row.id, merges[0]?.seq ?? seq]);
      await insertSegments(queries, row, owner.key, seq, pages);
      await upsertMemories(queries, row, [...isLast.values()], this.#keptMs);
    });
    for (const one of held) owner.put(one);
    if (merges.length > 0) owner.tail = [];
    pages.forEach((page, at) => noteSegment(owner, seq + at, page));
  }

  /**
   * Seals what stays under a new key and removes the rest, in one step together with what `more` writes. The
   * old key still stands; who calls this destroys it next. Only within `with`; the owner is opened anew by
   * the next who asks. Returns how many memories were sealed again.
   */
  async reseal(
    owner: OpenedOwner,
    gone: ReadonlySet<string>,
    more: (queries: Queries) => Promise<void>,
  ): Promise<number> {
    const { row } = owner;
    const next = { ...row, keyVersion: row.keyVersion + 1 };
    const stays = owner.all().filter(({ entry }) => !gone.has(entry.id));
    // A crash here leaves a key that seals nothing; the next attempt makes another in its place.
    const key = await this.#keys.create(row.id, next.keyVersion);
    await this.#database.transaction(async (queries) => {
      const [named] = await queries.rows('select name from owner where id = $1', [row.id]);
      const { name } = z.object({ name: z.instanceof(Uint8Array) }).parse(named);
      const opened = unseal(owner.key, [row.id, 'name'], name);
      if (opened === undefined) throw unreadable(row.id);
      await queries.rows('update owner set key_version = $2, name = $3 where id = $1', [
        row.id,
        next.keyVersion,
        seal(key, [row.id, 'name'], opened),
      ]);
      await queries.rows('delete from segment where owner = $1', [row.id]);
      await insertSegments(queries, next, key, owner.nextSeq, pagesOf(stays));
      await resealReceipts(
        queries,
        owner,
        next,
        key,
        stays.map(({ entry }) => entry),
      );
      await queries.rows('delete from memory where owner = $1 and id = any($2::text[])', [row.id, [...gone]]);
      await more(queries);
    });
    this.close(row.id);
    return stays.length;
  }

  /**
   * Removes an owner, which need not be readable any more, in one step together with what `more` writes,
   * which is told how many memories that are. The keys still stand. Throws CodedError `owner_not_found`.
   */
  remove(id: string, more: (queries: Queries, memories: number) => Promise<void>): Promise<void> {
    return this.#inTurn(id, async () => {
      // Before the first step, so that nobody works on what is half gone.
      this.close(id);
      await this.#database.transaction((queries) => removed(queries, id, more));
    });
  }

  /** Drops what is opened of an owner from this process's memory. */
  close(id: string): void {
    this.#opened.get(id)?.wipe();
    this.#opened.delete(id);
    this.#thread.drop(id);
  }

  /** Ends the thread of large owners, where there is one. */
  stop(): void {
    this.#thread.stop();
  }

  /** Drops owners that nobody has used for a while. */
  closeIdle(nowMs: number): void {
    this.#thread.dropIdle(nowMs - IDLE_MS);
    for (const [id, { usedMs }] of this.#opened) if (!this.#turns.has(id) && nowMs - usedMs > IDLE_MS) this.close(id);
  }

  /** Does something with an opened owner, in its turn. */
  async #use<Result>(id: string, work: (owner: OpenedOwner) => Promise<Result>): Promise<Result> {
    const owner = this.#opened.get(id) ?? (await this.#open(id));
    owner.usedMs = Date.now();
    try {
      return await work(owner);
    } catch (error) {
      // What the database has may be another thing than what is opened, where it answered nothing.
      if (!(error instanceof CodedError)) this.close(id);
      throw error;
    } finally {
      this.#closeSome(id);
    }
  }

  /** How many memories an owner has; a correction counts as one more until its segment is put together. */
  async #sizeOf(id: string): Promise<number> {
    const opened = this.#opened.get(id);
    if (opened !== undefined) return opened.size;
    const [row] = await this.#database.rows(
      'select coalesce(sum(entries), 0) as entries from segment where owner = $1',
      [id],
    );
    return Sum.parse(row).entries;
  }

  async #access(id: string): Promise<{ row: OwnerRow; key: Buffer }> {
    const [row] = (await this.#database.rows(`${OWNER} where id = $1 and erased_ms is null`, [id])).map((one) =>
      Row.parse(one),
    );
    if (row === undefined) throw new CodedError('owner_not_found', 'There is no such owner of memories.');
    const key = await this.#keys.get(id, row.keyVersion);
    if (key === undefined) throw unreadable(id);
    return { row, key };
  }

  async #open(id: string): Promise<OpenedOwner> {
    const { row, key } = await this.#access(id);
    const owner = new OpenedOwner(row, key);
    for await (const segment of segmentsFrom(this.#database, id, 0)) {
      const held = openSegment(key, row, segment);
      if (held === undefined) throw unreadable(id);
      for (const each of held) owner.put(each);
      noteSegment(owner, segment.seq, held);
    }
    this.#opened.set(id, owner);
    return owner;
  }

  /** Closes the owners that were used longest ago, until the others fit; never one that somebody works on. */
  #closeSome(used: string): void {
    let bytes = [...this.#opened.values()].reduce((sum, owner) => sum + owner.bytes, 0);
    const others = [...this.#opened].filter(([id]) => id !== used && !this.#turns.has(id));
    for (const [id, owner] of others.sort(([, a], [, b]) => a.usedMs - b.usedMs)) {
      if (bytes <= this.#openBytes) return;
      bytes -= owner.bytes;
      this.close(id);
    }
  }

  async #lookup(tenant: string, name: string): Promise<string> {
    const key = await this.#inTurn(LOOKUP, async () => {
      this.#lookupKey ??= (await this.#keys.get(LOOKUP, 0)) ?? (await this.#keys.create(LOOKUP, 0));
      return this.#lookupKey;
    });
    return createHmac('sha256', key)
      .update(JSON.stringify([tenant, name.normalize('NFC')]))
      .digest('hex');
  }

  /** One after the other of the same name. */
  #inTurn<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#turns.get(name) ?? Promise.resolve();
    const turn = before.then(work);
    const over = turn
      .catch(() => undefined)
      .then(() => {
        if (this.#turns.get(name) === over) this.#turns.delete(name);
      });
    this.#turns.set(name, over);
    return turn;
  }
}

/**
 * The tail is what stands behind the last full segment: what is put together later is one piece of the log.
 */
function noteSegment(owner: OpenedOwner, seq: number, held: readonly Held[]): void {
  owner.nextSeq = seq + 1;
  if (held.length >= FULL_SEGMENT) owner.tail = [];
  else owner.tail = [...owner.tail, { seq, ids: held.map(({ entry }) => entry.id) }];
}

const tenantTurn = (tenant: string) => `tenant ${tenant}`;

async function removed(
  queries: Queries,
  id: string,
  more: (queries: Queries, memories: number) => Promise<void>,
): Promise<void> {
  const [row] = await queries.rows(
    `select (select count(*) from memory where owner = $1) as memories from owner where id = $1 and erased_ms is null`,
    [id],
  );
  if (row === undefined) throw new CodedError('owner_not_found', 'There is no such owner of memories.');
  const { memories } = z.object({ memories: z.coerce.number() }).parse(row);
  for (const table of ['segment', 'memory', 'access', 'tombstone', 'receipt', 'taken_in'])
    await queries.rows(`delete from ${table} where owner = $1`, [id]);
  await queries.rows('update owner set lookup = null, name = null, erased_ms = $2 where id = $1', [id, Date.now()]);
  await more(queries, memories);
}

const unreadable = (id: string) =>
  new CodedError('record_unreadable', 'The memories of this owner cannot be opened.', {
    cause: new Error(`segments or key of ${id} are missing or damaged`),
  });
