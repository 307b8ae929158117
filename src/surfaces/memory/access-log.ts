import { z } from 'zod';
import type { Database } from '../../ground/database/database.ts';

/** For how long (ms) reads are kept, and how many of one owner; the oldest go when the log is trimmed. */
export interface ReadBounds {
  readonly keptMs: number;
  readonly ofOwner: number;
}

const BOUNDS: ReadBounds = { keptMs: 400 * 86_400_000, ofOwner: 100_000 };

const Row = z
  .object({
    number: z.coerce.number(),
    at_ms: z.coerce.number(),
    by_key: z.string(),
    action: z.string(),
    memories: z.string(),
  })
  .transform(({ number, at_ms, by_key, action, memories }) => ({
    number,
    at: new Date(at_ms).toISOString(),
    by: by_key,
    action,
    memories: memories === '' ? [] : memories.split(' '),
  }));

/** Who read which memories of an owner, and when; never what was asked. */
export class AccessLog {
  readonly #database: Database;
  readonly #bounds: ReadBounds;
  /** Owners whose log has grown since it was trimmed. */
  #grown = new Set<string>();

  constructor(database: Database, bounds: ReadBounds = BOUNDS) {
    this.#database = database;
    this.#bounds = bounds;
  }

  /** Notes a read; it is in the log when this resolves, and only then may it be answered. */
  async note(owner: string, by: string, action: string, memories: readonly string[]): Promise<void> {
    await this.#database.rows(
      'insert into access (owner, at_ms, by_key, action, memories) values ($1, $2, $3, $4, $5)',
      [owner, Date.now(), by, action, memories.join(' ')],
    );
    this.#grown.add(owner);
  }

  /** Newest first; `before` is the number of the last one of the page before. */
  async list(owner: string, limit: number, before: number | undefined): Promise<z.infer<typeof Row>[]> {
    const rows = await this.#database.rows(
      `select number, at_ms, by_key, action, memories from access
       where owner = $1 and number < $2 order by number desc limit $3`,
      [owner, before ?? Number.MAX_SAFE_INTEGER, limit],
    );
    return rows.map((row) => Row.parse(row));
  }

  /** Forgets reads of more than 400 days ago, and those before the newest 100,000 of an owner. */
  async trim(nowMs: number): Promise<void> {
    await this.#database.rows('delete from access where at_ms < $1', [nowMs - this.#bounds.keptMs]);
    const grown = this.#grown;
    this.#grown = new Set();
    for (const owner of grown)
      await this.#database.rows(
        `delete from access where owner = $1 and number <= (
           select number from access where owner = $1 order by number desc offset $2 limit 1)`,
        [owner, this.#bounds.ofOwner],
      );
  }
}
