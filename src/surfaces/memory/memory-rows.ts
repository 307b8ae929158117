import type { Queries } from '../../ground/database/database.ts';
import type { OwnerRow } from './opened-owner.ts';
import type { Held } from './segment.ts';

/**
 * For how long (ms) memories of a category are kept, from when they were made; the others are kept for ever.
 */
export type Retention = ReadonlyMap<string, number>;

/** Writes what the rows say of memories: their times, and when they are erased by themselves. */
export async function upsertMemories(
  { rows }: Queries,
  { id: owner, tenant }: OwnerRow,
  held: readonly Held[],
  keptMs: Retention,
): Promise<void> {
  const expiryOf = ({ entry: { category, created_at } }: Held) => {
    const kept = category === null ? undefined : keptMs.get(category);
    return kept === undefined ? '' : String(Date.parse(created_at) + kept);
  };
  await rows(
    `insert into memory (owner, id, tenant, updated_ms, expires_ms)
     select $1, one.id, $2, one.updated::bigint, nullif(one.expires, '')::bigint
     from unnest($3::text[], $4::text[], $5::text[]) as one (id, updated, expires)
     on conflict (owner, id) do update set updated_ms = excluded.updated_ms, expires_ms = excluded.expires_ms`,
    [
      owner,
      tenant,
      held.map(({ entry }) => entry.id),
      held.map(({ entry }) => String(Date.parse(entry.updated_at))),
      held.map(expiryOf),
    ],
  );
}
