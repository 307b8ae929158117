import { z } from 'zod';
import type { Database } from '../../ground/database/database.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { AccessLog } from './access-log.ts';
import { jobsOf, keepReceipt, receiptsOf, type KeptReceipt } from './kept-receipts.ts';
import { requireName, setOf, trustsOf, type Memories } from './memories.ts';
import type { Answer, Ask, TakenIn } from './memory-calls.ts';
import type { MemoryDraft } from './memory-drafts.ts';
import { isOf } from './memory-filter.ts';
import type { OpenedOwner } from './opened-owner.ts';
import type { Owners } from './owners.ts';
import type { Tombstones } from './tombstones.ts';

/** What became of an answer is told for so long. */
const KEPT_MS = 30 * 86_400_000;

const Row = z
  .object({ job: z.string(), refusal: z.string().nullable(), memories: z.string(), dropped: z.coerce.number() })
  .transform(({ memories, ...rest }): TakenIn => ({ ...rest, memories: memories === '' ? [] : memories.split(' ') }));

interface DerivedParts {
  readonly database: Database;
  readonly owners: Owners;
  readonly memories: Memories;
  readonly accesses: AccessLog;
  readonly tombstones: Tombstones;
}

/** Memories that jobs have made, and the receipts of these jobs. */
export class DerivedMemories {
  readonly #database: Database;
  readonly #owners: Owners;
  readonly #memories: Memories;
  readonly #accesses: AccessLog;
  readonly #tombstones: Tombstones;

  constructor({ database, owners, memories, accesses, tombstones }: DerivedParts) {
    this.#database = database;
    this.#owners = owners;
    this.#memories = memories;
    this.#accesses = accesses;
    this.#tombstones = tombstones;
  }

  /**
   * Where the owner is, made where there is none. Throws CodedError `memory_not_found` where one of these
   * memories is not there for the caller.
   */
  async place({ whose, names }: Ask<'place'>): Promise<Answer<'place'>> {
    const { id } = await this.#owners.ensure(whose.tenant, requireName(whose));
    const origin = { kind: 'model' as const, from: null, reference: null, rests_on: names, receipt: null };
    if (names.length > 0)
      await this.#owners.with(id, (owner) => {
        trustsOf({ supersedes: [], contradicts: [], origin }, setOf(whose), (one) => owner.get(one));
        return Promise.resolve();
      });
    return { place: id };
  }

  /**
   * Takes the answer of a job in: its receipt, its memories, then what became of it. Each step changes
   * nothing when it is done twice, so whoever was cut off anywhere does them all again. What was erased in
   * between stays erased.
   */
  async takeIn(ask: Ask<'takeIn'>): Promise<TakenIn | null> {
    const { tenant, place, job, dropped } = ask;
    const known = await this.takenIn({ tenant, job });
    if (known !== null) return known;
    const isThere = await this.#database.rows(
      'select id from owner where id = $1 and tenant = $2 and erased_ms is null',
      [place, tenant],
    );
    if (isThere.length === 0) return null;
    const { refusal, memories } = await this.#remember(ask);
    await this.#database.rows(
      `insert into taken_in (job, tenant, owner, at_ms, refusal, memories, dropped)
       select $1, $2, $3, $4::bigint, $5, $6, $7::integer
       where exists (select 1 from owner where id = $3 and erased_ms is null) on conflict do nothing`,
      [job, tenant, place, Date.now(), refusal, memories.join(' '), dropped],
    );
    return this.takenIn({ tenant, job });
  }

  async takenIn({ tenant, job }: Ask<'takenIn'>): Promise<TakenIn | null> {
    const rows = await this.#database.rows(
      'select job, refusal, memories, dropped from taken_in where job = $1 and tenant = $2',
      [job, tenant],
    );
    return rows.map((row) => Row.parse(row))[0] ?? null;
  }

  /** The receipts of the jobs that made a memory. Throws CodedErrors `memory_not_found`, `erased`. */
  receipts({ whose, id }: Ask<'receipts'>): Promise<KeptReceipt[]> {
    return this.#memories.withOne(whose, id, async (owner, { entry }) => {
      await this.#accesses.note(owner.row.id, whose.by, 'receipts', [id]);
      return receiptsOf(this.#database, owner, jobsOf([entry]));
    });
  }

  /** The receipts of all memories that the caller may see. */
  async receiptPage({ whose, after = '', limit }: Ask<'receiptPage'>): Promise<KeptReceipt[]> {
    const row = await this.#owners.find(whose.tenant, requireName(whose));
    if (row === undefined) return [];
    return this.#owners.with(row.id, async (owner) => {
      const sources = setOf(whose);
      const seen = owner.all().flatMap(({ entry }) => (isOf(entry, sources) ? [entry] : []));
      const rows = await this.#database.rows(
        `select job from receipt where owner = $1 and job = any($2::text[]) and sha256 collate "C" > $3
         order by sha256 collate "C" limit $4`,
        [row.id, jobsOf(seen), after, limit],
      );
      const jobs = rows.map((one) => z.object({ job: z.string() }).parse(one).job);
      return receiptsOf(this.#database, owner, jobs);
    });
  }

  /** Forgets what became of answers long ago. */
  async trim(nowMs: number): Promise<void> {
    await this.#database.rows('delete from taken_in where at_ms < $1', [nowMs - KEPT_MS]);
  }

  /** The ids of what is remembered, or why nothing is. */
  async #remember(ask: Ask<'takeIn'>): Promise<Pick<TakenIn, 'refusal' | 'memories'>> {
    const { place, sources, drafts, refusal } = ask;
    if (refusal !== null || drafts.length === 0) return { refusal, memories: [] };
    try {
      const added = await this.#memories.addTo(place, sources === null ? null : new Set(sources), drafts, (owner) =>
        this.#chosen(owner, ask),
      );
      return { refusal: null, memories: [...new Set(added.map(({ entry }) => entry.id))] };
    } catch (error) {
      // What is not there for the writer any more, and an owner who is full: no repetition changes that.
      if (error instanceof CodedError && error.status < 500) return { refusal: error.code, memories: [] };
      throw error;
    }
  }

  /** The drafts whose memories were not erased before, each with the receipt. */
  async #chosen(owner: OpenedOwner, { job, receipt, drafts }: Ask<'takeIn'>): Promise<MemoryDraft[]> {
    const buried = await this.#tombstones.among(owner.row.id, drafts);
    const left = drafts.filter(({ id }) => !buried.has(id));
    if (left.length === 0) return [];
    const sha256 = await keepReceipt(this.#database, owner, job, receipt);
    return left.map((draft) => ({
      ...draft,
      origin: { ...draft.origin, receipt: draft.origin.kind === 'model' ? { job, sha256 } : null },
    }));
  }
}
