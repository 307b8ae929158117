import { z } from 'zod';
import type { Database, Queries } from '../../ground/database/database.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import { canonicalJson } from '../../ground/json/canonical-json.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { callIn } from './holding-jobs.ts';
import type { KeyStore } from './key-store.ts';
import { notFound, ownerNotFound, requireName, setOf, type Memories } from './memories.ts';
import type { Answer, Ask, Erased } from './memory-calls.ts';
import { isOf } from './memory-filter.ts';
import type { OpenedOwner } from './opened-owner.ts';
import type { Owners } from './owners.ts';
import type { Tombstones } from './tombstones.ts';

/** What a deletion receipt says it does not prove. */
const NOT_PROVED = [
  'that nobody kept what was exported or answered before',
  'that no copy of the key store or of the wrapping key was made before; backups of them end with their retention',
  'that the disk has overwritten the blocks of the files that were removed',
  'that Redis has written its append-only file anew already',
] as const;

/** What an erasure has others do, before its receipt is handed out. */
const FOLLOWS = [
  'the jobs that hold what was erased were asked to be erased',
  'once they are, Redis is asked to write its append-only file anew',
] as const;

/** What was asked, kept with the change that carries it out, until the keys are destroyed. */
const Plan = z.strictObject({
  scope: z.enum(['memory', 'owner']),
  by: z.string(),
  memories: z.array(z.string()),
  removed: z.int(),
  resealed: z.int(),
  /** Keys of lower versions are destroyed. */
  below: z.int(),
});
type Plan = z.infer<typeof Plan>;

const Pending = z.object({
  id: z.string(),
  tenant: z.string(),
  owner: z.string(),
  plan: z.string(),
  asked_ms: z.coerce.number(),
});
const Done = z
  .object({ id: z.string(), statement: z.string(), is_logged: z.boolean() })
  .transform(({ id, statement, is_logged }): Erased => ({
    erasure: id,
    statement,
    sha256: sha256Hex(statement),
    isLogged: is_logged,
  }));

const NOTHING_MORE = { merged_into: null, receipt: null };
const ALL_VERSIONS = 1_000_000_000;
const EXPIRED_AT_ONCE = 1_000;

interface ErasureParts {
  readonly database: Database;
  readonly keys: KeyStore;
  readonly owners: Owners;
  readonly memories: Memories;
  readonly tombstones: Tombstones;
}

/**
 * Erases memories and owners, by destroying the key that they are sealed under.
 *
 *   1. What stays is sealed under a new key, and the rows of the rest go, with a note of the erasure: one
 *      transaction. A crash before it leaves everything as it was.
 *   2. Everything is brought to disk: what replaces the old segments must not be lost with their key. A crash
 *      from here on leaves the note without a statement, and the next start goes on.
 *   3. The old keys are overwritten and removed. From here on nothing opens the old segments, wherever they
 *      are.
 *   4. The statement is written into the note, and its digest into the tombstones.
 */
export class MemoryErasures {
  readonly #database: Database;
  readonly #keys: KeyStore;
  readonly #owners: Owners;
  readonly #memories: Memories;
  readonly #tombstones: Tombstones;

  constructor({ database, keys, owners, memories, tombstones }: ErasureParts) {
    this.#database = database;
    this.#keys = keys;
    this.#owners = owners;
    this.#memories = memories;
    this.#tombstones = tombstones;
  }

  /**
   * Erases memories of one owner at once. Those that were erased already give the erasure that did it. Throws
   * CodedError `memory_not_found` where one of them is not there for the caller; then none is erased.
   */
  async erase({ whose, ids }: Ask<'erase'>): Promise<Answer<'erase'>> {
    const [first = ''] = ids;
    const place = await this.#memories.placeOf(whose, first);
    const sources = setOf(whose);
    const asked = await this.#owners.with(place, async (owner) => {
      const found = ids.flatMap((id) => owner.get(id) ?? []);
      if (found.some(({ entry }) => !isOf(entry, sources))) throw notFound();
      const gone = new Set(found.map(({ entry }) => entry.id));
      const before = await this.#erasuresOf(
        place,
        ids.filter((id) => !gone.has(id)),
        sources,
      );
      return gone.size === 0 ? before : [...before, await this.#remove(owner, gone, whose.by, 'erased')];
    });
    for (const id of asked) await this.#finish(id);
    return this.#done(asked);
  }

  /**
   * Erases what its category is kept no longer, a page of each owner at a time. An owner that cannot be
   * opened holds up no other; throws after the others where there is one.
   */
  async expire(nowMs: number): Promise<void> {
    const rows = await this.#database.rows('select distinct owner from memory where expires_ms <= $1', [nowMs]);
    const failures: unknown[] = [];
    for (const row of rows) {
      const { owner } = z.object({ owner: z.string() }).parse(row);
      await this.#expireOf(owner, nowMs).catch((error: unknown) => failures.push(error));
    }
    const [cause] = failures;
    if (failures.length > 0)
      throw new Error(`what is kept no longer stays with ${failures.length} owners: ${messageOf(cause)}`, { cause });
  }

  async #expireOf(place: string, nowMs: number): Promise<void> {
    const rows = await this.#database.rows(
      'select id from memory where owner = $1 and expires_ms <= $2 order by expires_ms limit $3',
      [place, nowMs, EXPIRED_AT_ONCE],
    );
    const ids = rows.map((row) => z.object({ id: z.string() }).parse(row).id);
    const id = await this.#owners.with(place, async (owner) => {
      const gone = new Set(ids.filter((one) => owner.get(one) !== undefined));
      return gone.size === 0 ? undefined : this.#remove(owner, gone, 'retention', 'expired');
    });
    if (id !== undefined) await this.#finish(id);
  }

  /** The first step of an erasure; its id. Only within the turn of the owner. */
  async #remove(
    owner: OpenedOwner,
    gone: ReadonlySet<string>,
    by: string,
    reason: 'erased' | 'expired',
  ): Promise<string> {
    const id = newErasureId();
    const { id: place, tenant, keyVersion } = owner.row;
    const plan: Plan = {
      scope: 'memory',
      by,
      memories: [...gone].sort(),
      removed: gone.size,
      resealed: owner.size - gone.size,
      below: keyVersion + 1,
    };
    await this.#owners.reseal(owner, gone, async (queries) => {
      await noteErasure(queries, { id, tenant, owner: place, plan });
      await callIn(queries, place, plan.memories);
      const removedMs = Date.now();
      const all = plan.memories.map((memory) => ({ id: memory, removedMs, reason, erasure: id, ...NOTHING_MORE }));
      await this.#tombstones.bury(queries, { id: place, tenant }, all);
    });
    return id;
  }

  /** Erases an owner with everything. Throws CodedError `owner_not_found`. */
  async eraseOwner({ whose }: Ask<'eraseOwner'>): Promise<Erased> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    if (row === undefined) throw ownerNotFound();
    const id = newErasureId();
    await this.#owners.remove(row.id, async (queries, removed) => {
      const plan: Plan = { scope: 'owner', by: whose.by, memories: [], removed, resealed: 0, below: ALL_VERSIONS };
      await callIn(queries, row.id, null);
      await noteErasure(queries, { id, tenant: whose.tenant, owner: row.id, plan });
    });
    await this.#finish(id);
    const [done] = await this.#done([id]);
    if (done === undefined) throw new Error(`The erasure ${id} has no statement.`);
    return done;
  }

  /** Goes on with erasures that a crash has left. */
  async finishAll(): Promise<void> {
    const rows = await this.#database.rows('select id from erasure where statement is null order by asked_ms');
    for (const row of rows) await this.#finish(z.object({ id: z.string() }).parse(row).id);
  }

  /** The erasures of a tenant whose digest is in no log yet, oldest first. */
  async unlogged({ tenant }: Ask<'unlogged'>): Promise<Erased[]> {
    const rows = await this.#database.rows(
      `select id, statement, is_logged from erasure
       where tenant = $1 and statement is not null and not is_logged order by asked_ms limit 100`,
      [tenant],
    );
    return rows.map((row) => Done.parse(row));
  }

  async logged({ tenant, erasures }: Ask<'logged'>): Promise<null> {
    await this.#database.rows('update erasure set is_logged = true where tenant = $1 and id = any($2::text[])', [
      tenant,
      erasures,
    ]);
    return null;
  }

  async #finish(id: string): Promise<void> {
    const [row] = await this.#database.rows(
      'select id, tenant, owner, plan, asked_ms from erasure where id = $1 and statement is null',
      [id],
    );
    if (row === undefined) return;
    const { tenant, owner, plan: text, asked_ms } = Pending.parse(row);
    const plan = Plan.parse(JSON.parse(text));
    await this.#database.flush();
    await this.#keys.destroyBelow(owner, plan.below);
    const statement = canonicalJson({
      type: 'countersign/memory-erasure/v1',
      erasure: id,
      tenant,
      owner,
      scope: plan.scope,
      asked_by: plan.by,
      asked_at: new Date(asked_ms).toISOString(),
      finished_at: new Date().toISOString(),
      memories: plan.memories,
      removed: plan.removed,
      resealed: plan.resealed,
      keys_destroyed: plan.scope === 'owner' ? 'all of the owner' : `all of the owner below version ${plan.below}`,
      follows: FOLLOWS,
      not_proved: NOT_PROVED,
    });
    await this.#database.transaction(async ({ rows }) => {
      await rows('update erasure set statement = $2 where id = $1 and statement is null', [id, statement]);
      await rows('update tombstone set receipt = $2 where erasure = $1', [id, sha256Hex(statement)]);
    });
  }

  /**
   * The erasures that took these memories away. Throws CodedError `memory_not_found` where one was not, or by
   * somebody whose doing the caller may not see.
   */
  async #erasuresOf(owner: string, ids: readonly string[], sources: ReadonlySet<string> | null): Promise<string[]> {
    const rows = await this.#database.rows(
      `select tombstone.id, tombstone.erasure, erasure.plan from tombstone join erasure on erasure.id = tombstone.erasure
       where tombstone.owner = $1 and tombstone.id = any($2::text[])`,
      [owner, ids],
    );
    const found = rows
      .map((row) => z.object({ id: z.string(), erasure: z.string(), plan: z.string() }).parse(row))
      .filter(({ plan }) => sources === null || sources.has(Plan.parse(JSON.parse(plan)).by));
    if (found.length < new Set(ids).size) throw notFound();
    return [...new Set(found.map(({ erasure }) => erasure))];
  }

  async #done(ids: readonly string[]): Promise<Erased[]> {
    const rows = await this.#database.rows(
      `select id, statement, is_logged from erasure
       where id = any($1::text[]) and statement is not null order by asked_ms, id`,
      [[...ids]],
    );
    return rows.map((row) => Done.parse(row));
  }
}

interface Note {
  readonly id: string;
  readonly tenant: string;
  readonly owner: string;
  readonly plan: Plan;
}

async function noteErasure(queries: Queries, { id, tenant, owner, plan }: Note): Promise<void> {
  await queries.rows('insert into erasure (id, tenant, owner, plan, asked_ms) values ($1, $2, $3, $4, $5)', [
    id,
    tenant,
    owner,
    JSON.stringify(plan),
    Date.now(),
  ]);
}

const newErasureId = () => `era_${freshRandom(12).toString('hex')}`;
