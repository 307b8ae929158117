import { z } from 'zod';
import type { Database, Queries } from '../../ground/database/database.ts';
import { MemoryTombstone } from '../../proof/memory/entry.ts';
import type { OwnerRow } from './opened-owner.ts';

/** For how long (ms) what is left of memories is kept, and how much of it of one owner. */
export interface TombstoneBounds {
  readonly keptMs: number;
  readonly ofOwner: number;
}

/** Three years; an owner can have as many memories. */
const BOUNDS: TombstoneBounds = { keptMs: 1_096 * 86_400_000, ofOwner: 100_000 };

/** What is left of a memory here, and by which erasure of ours it went. */
export interface Burial extends Pick<MemoryTombstone, 'id' | 'reason' | 'merged_into' | 'receipt'> {
  readonly removedMs: number;
  readonly erasure: string | null;
}

const Stored = z
  .object({
    id: z.string(),
    removed_ms: z.coerce.number(),
    reason: z.string(),
    merged_into: z.string().nullable(),
    receipt: z.string().nullable(),
  })
  .transform(({ removed_ms, ...rest }) =>
    MemoryTombstone.parse({ ...rest, removed_at: new Date(removed_ms).toISOString() }),
  );
const Id = z.object({ id: z.string() });
const OfErasure = z.object({ erasure: z.string().nullable() });

/**
 * What is left of memories that were taken away, so that their ids are not taken again and no import brings
 * them back. The oldest ones go, and with the last one of an erasure the note of it, once its digest is in
 * the log: from then on the memory was never there.
 */
export class Tombstones {
  readonly #database: Database;
  readonly #bounds: TombstoneBounds;

  constructor(database: Database, bounds: TombstoneBounds = BOUNDS) {
    this.#database = database;
    this.#bounds = bounds;
  }

  /** Those of these ids that were taken away from an owner, by the id of its row. */
  async among(owner: string, them: readonly { readonly id: string }[]): Promise<Set<string>> {
    const rows = await this.#database.rows('select id from tombstone where owner = $1 and id = any($2::text[])', [
      owner,
      them.map(({ id }) => id),
    ]);
    return new Set(rows.map((row) => Id.parse(row).id));
  }

  /** In the order of their ids as bytes. */
  async page(owner: string, after: string, limit: number): Promise<MemoryTombstone[]> {
    const rows = await this.#database.rows(
      `select id, removed_ms, reason, merged_into, receipt from tombstone
       where owner = $1 and id collate "C" > $2 order by id collate "C" limit $3`,
      [owner, after, limit],
    );
    return rows.map((row) => Stored.parse(row));
  }

  /** Notes them with what else the transaction writes; one that is there stays as it is. */
  async bury({ rows }: Queries, { id: owner, tenant }: Pick<OwnerRow, 'id' | 'tenant'>, all: readonly Burial[]) {
    await rows(
      `insert into tombstone (owner, id, tenant, removed_ms, reason, merged_into, erasure, receipt)
       select $1, one.id, $2, one.removed::bigint, one.reason, nullif(one.target, ''), nullif(one.erasure, ''),
              nullif(one.receipt, '')
       from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
            as one (id, removed, reason, target, erasure, receipt)
       on conflict do nothing`,
      [
        owner,
        tenant,
        all.map(({ id }) => id),
        all.map(({ removedMs }) => String(removedMs)),
        all.map(({ reason }) => reason),
        all.map(({ merged_into }) => merged_into ?? ''),
        all.map(({ erasure }) => erasure ?? ''),
        all.map(({ receipt }) => receipt ?? ''),
      ],
    );
    const beyond = await rows(
      `delete from tombstone where owner = $1 and id in (
         select id from tombstone where owner = $1 order by removed_ms desc, id offset $2)
       returning erasure`,
      [owner, this.#bounds.ofOwner],
    );
    await forgetErasures({ rows }, beyond);
  }

  /** Forgets what was taken away long ago, and owners who were. */
  async trim(nowMs: number): Promise<void> {
    const beforeMs = nowMs - this.#bounds.keptMs;
    await this.#database.transaction(async ({ rows }) => {
      await forgetErasures(
        { rows },
        await rows('delete from tombstone where removed_ms < $1 returning erasure', [beforeMs]),
      );
      // What the log has not heard of by now it never will.
      await rows(
        `delete from erasure where asked_ms < $1 and statement is not null
           and not exists (select 1 from tombstone where tombstone.erasure = erasure.id)`,
        [beforeMs],
      );
      await rows(
        `delete from owner where erased_ms < $1
           and not exists (select 1 from erasure where erasure.owner = owner.id)`,
        [beforeMs],
      );
    });
  }
}

/** Forgets the erasures of these tombstones that have none left, and whose digests are in the log. */
async function forgetErasures({ rows }: Queries, gone: readonly unknown[]): Promise<void> {
  const ids = [...new Set(gone.flatMap((row) => OfErasure.parse(row).erasure ?? []))];
  if (ids.length === 0) return;
  await rows(
    `delete from erasure where id = any($1::text[]) and is_logged
       and not exists (select 1 from tombstone where tombstone.erasure = erasure.id)`,
    [ids],
  );
}
