import { z } from 'zod';
import type { Database, Queries } from '../../ground/database/database.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { lineDigest, type MemoryEntry } from '../../proof/memory/entry.ts';
import type { OpenedOwner, OwnerRow } from './opened-owner.ts';
import { seal, unseal } from './sealing.ts';

/** The receipt of a job that made memories, as the owner keeps it. */
export interface KeptReceipt {
  readonly job: string;
  readonly sha256: string;
  readonly text: string;
}

const Row = z.object({ job: z.string(), sha256: z.string(), body: z.instanceof(Uint8Array) });

const contextOf = ({ tenant, id, keyVersion }: OwnerRow, job: string) => ['receipt', tenant, id, keyVersion, job];

/**
 * Keeps the receipt of a job sealed under the owner's key, and returns its digest. The first one stays: the
 * same job can be shown by several receipts, whose proofs are of different times. Only in the owner's turn.
 */
export async function keepReceipt(
  database: Database,
  { row, key }: OpenedOwner,
  job: string,
  text: string,
): Promise<string> {
  const sha256 = lineDigest(text);
  const body = seal(key, contextOf(row, job), Buffer.from(text));
  const kept = await database.rows(
    `insert into receipt (owner, job, sha256, body) values ($1, $2, $3, $4)
     on conflict (owner, job) do update set sha256 = receipt.sha256 returning sha256`,
    [row.id, job, sha256, body],
  );
  return z.object({ sha256: z.string() }).parse(kept[0]).sha256;
}

/** The receipts of these jobs that are kept. Only in the owner's turn. */
export async function receiptsOf(
  queries: Queries,
  { row, key }: OpenedOwner,
  jobs: readonly string[],
): Promise<KeptReceipt[]> {
  const rows = await queries.rows(
    'select job, sha256, body from receipt where owner = $1 and job = any($2::text[]) order by sha256',
    [row.id, [...jobs]],
  );
  return rows.map((one) => {
    const { job, sha256, body } = Row.parse(one);
    const text = unseal(key, contextOf(row, job), body)?.toString('utf8');
    if (text === undefined)
      throw new CodedError('record_unreadable', 'A receipt of this owner cannot be opened.', {
        cause: new Error(`the receipt of ${job} of ${row.id} is damaged`),
      });
    return { job, sha256, text };
  });
}

/** The jobs that made these memories, now or in a former state. */
export function jobsOf(entries: readonly MemoryEntry[]): string[] {
  const origins = entries.flatMap((entry) => [entry, ...entry.history].flatMap((state) => state.origins));
  return [...new Set(origins.flatMap(({ receipt }) => (receipt === null ? [] : [receipt.job])))];
}

/**
 * Seals the receipts of memories that stay under the next key, and removes the others. Within the transaction
 * that does so with the memories.
 */
export async function resealReceipts(
  queries: Queries,
  owner: OpenedOwner,
  next: OwnerRow,
  nextKey: Buffer,
  stays: readonly MemoryEntry[],
): Promise<void> {
  const kept = await receiptsOf(queries, owner, jobsOf(stays));
  await queries.rows('delete from receipt where owner = $1', [next.id]);
  for (const { job, sha256, text } of kept)
    await queries.rows('insert into receipt (owner, job, sha256, body) values ($1, $2, $3, $4)', [
      next.id,
      job,
      sha256,
      seal(nextKey, contextOf(next, job), Buffer.from(text)),
    ]);
}
