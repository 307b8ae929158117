import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import type { Queries, Value } from '../../ground/database/database.ts';
import { FULL_SEGMENT, type OwnerRow } from './opened-owner.ts';
import { seal, unseal } from './sealing.ts';
import { decodeSegment, encodeSegment, type Held } from './segment.ts';

/** About so many bytes of segments are read at once, so that others have a turn in between. */
const READ_AT_ONCE = 2_097_152;

/** A segment as it stands in the database. */
export interface SealedSegment {
  readonly seq: number;
  readonly keyVersion: number;
  readonly body: Uint8Array;
}

const Size = z.object({ seq: z.coerce.number(), bytes: z.coerce.number() });
const Segment = z
  .object({ seq: z.coerce.number(), key_version: z.coerce.number(), body: z.instanceof(Uint8Array) })
  .transform(({ seq, key_version, body }): SealedSegment => ({ seq, keyVersion: key_version, body }));

/**
 * The segments of an owner from this number on, in their order. Few are in memory at a time, and after each
 * of them whatever else waits in this process is done.
 */
export async function* segmentsFrom(queries: Queries, owner: string, from: number): AsyncGenerator<SealedSegment> {
  const sizes = await queries.rows(
    'select seq, octet_length(body) as bytes from segment where owner = $1 and seq >= $2 order by seq',
    [owner, from],
  );
  for (const { first, last } of rangesOf(sizes.map((row) => Size.parse(row)))) {
    const rows = await queries.rows(
      'select seq, key_version, body from segment where owner = $1 and seq between $2 and $3 order by seq',
      [owner, first, last],
    );
    for (const row of rows) {
      yield Segment.parse(row);
      await setImmediate();
    }
  }
}

/** What was sealed; undefined where it cannot be opened. */
export function openSegment(
  key: Uint8Array,
  row: Pick<OwnerRow, 'id' | 'tenant'>,
  { seq, keyVersion, body }: SealedSegment,
): Held[] | undefined {
  const plain = unseal(key, contextOf({ ...row, keyVersion }, seq), body);
  if (plain === undefined) return undefined;
  const held = decodeSegment(plain);
  plain.fill(0);
  return held;
}

/** Writes pages of memories as the segments from this number on. */
export async function insertSegments(
  queries: Queries,
  row: OwnerRow,
  key: Buffer,
  seq: number,
  pages: readonly Held[][],
): Promise<void> {
  for (const [at, page] of pages.entries()) {
    const body = seal(key, contextOf(row, seq + at), encodeSegment(page));
    const values: Value[] = [row.id, seq + at, row.keyVersion, page.length, body];
    await queries.rows(
      'insert into segment (owner, seq, key_version, entries, body) values ($1, $2, $3, $4, $5)',
      values,
    );
  }
}

/** Memories in pages, each for one segment. */
export function pagesOf(held: readonly Held[]): Held[][] {
  const pages: Held[][] = [];
  for (let at = 0; at < held.length; at += FULL_SEGMENT) pages.push(held.slice(at, at + FULL_SEGMENT));
  return pages;
}

const contextOf = ({ tenant, id, keyVersion }: OwnerRow, seq: number) => [tenant, id, keyVersion, seq];

function rangesOf(sizes: readonly z.infer<typeof Size>[]): { first: number; last: number }[] {
  const ranges: { first: number; last: number; bytes: number }[] = [];
  for (const { seq, bytes } of sizes) {
    const range = ranges.at(-1);
    if (range === undefined || range.bytes + bytes > READ_AT_ONCE) ranges.push({ first: seq, last: seq, bytes });
    else [range.last, range.bytes] = [seq, range.bytes + bytes];
  }
  return ranges;
}
