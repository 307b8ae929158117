import { z } from 'zod';
import type { Database, Queries } from '../../ground/database/database.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { Answer, Ask } from './memory-calls.ts';
import type { Owners } from './owners.ts';

const Job = z.object({ job: z.string() });
const PAGE = 1_000;
/** Stands in the place of a memory where the owner alone is meant. */
const OWNER_ALONE = '';

/**
 * Jobs that hold memories in what was asked or answered, from their ends until they are erased by
 * themselves: whoever erases a memory erases them with it. One that has not ended is asked about at its end.
 */
export class HoldingJobs {
  readonly #database: Database;
  readonly #owners: Owners;

  constructor(database: Database, owners: Owners) {
    this.#database = database;
    this.#owners = owners;
  }

  /** Notes a job that has ended; `gone` where something that it holds was erased: it is to be erased now. */
  async note({ tenant, place, job, memories, until_ms }: Ask<'noteHolder'>): Promise<Answer<'noteHolder'>> {
    try {
      // In the owner's turn: what is erased afterwards finds the job.
      return await this.#owners.with(place, async (owner) => {
        if (owner.row.tenant !== tenant || memories.some((id) => owner.get(id) === undefined)) return { gone: true };
        await this.#database.rows(
          `insert into holder (owner, memory, job, tenant, until_ms)
           select $1, memory, $2, $3, $4::bigint from unnest($5::text[]) as memory on conflict do nothing`,
          [place, job, tenant, until_ms, [OWNER_ALONE, ...new Set(memories)]],
        );
        return { gone: false };
      });
    } catch (error) {
      if (error instanceof CodedError && error.code === 'owner_not_found') return { gone: true };
      throw error;
    }
  }

  /** Jobs of a tenant that hold what was erased. */
  async due({ tenant }: Ask<'dueHolders'>): Promise<string[]> {
    const rows = await this.#database.rows(
      'select distinct job from holder where tenant = $1 and is_due order by job limit $2',
      [tenant, PAGE],
    );
    return rows.map((row) => Job.parse(row).job);
  }

  /** Forgets jobs whose erasure was asked for. */
  async forget({ tenant, jobs }: Ask<'forgetHolders'>): Promise<null> {
    await this.#database.rows('delete from holder where tenant = $1 and job = any($2::text[])', [tenant, jobs]);
    return null;
  }

  /** Forgets jobs that were erased by themselves. */
  async trim(nowMs: number): Promise<void> {
    await this.#database.rows('delete from holder where until_ms < $1', [nowMs]);
  }
}

/** Says with an erasure that the jobs that hold these memories are to go; null for all of the owner. */
export async function callIn({ rows }: Queries, owner: string, memories: readonly string[] | null): Promise<void> {
  await rows('update holder set is_due = true where owner = $1 and ($2 or memory = any($3::text[]))', [
    owner,
    memories === null,
    memories ?? [],
  ]);
}
