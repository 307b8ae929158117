import pg from 'pg';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import type { Database, Queries, Value } from './database.ts';

/** The number of our advisory lock; any other program of this database uses another. */
const LOCK = 7_304_116_023;
const MAX_CONNECTIONS = 8;
const CONNECT_MS = 10_000;
const STATEMENT_MS = 60_000;

/**
 * A PostgreSQL server. One connection holds a lock of the server for as long as this process uses the
 * database; where that connection ends, `onLost` is called, and the process must not write any more.
 */
export class PostgresDatabase implements Database {
  readonly #pool: pg.Pool;
  readonly #holder: pg.Client;

  private constructor(pool: pg.Pool, holder: pg.Client) {
    this.#pool = pool;
    this.#holder = holder;
  }

  /**
   * Throws CodedError `start_failed` where the server does not answer or another process has the database.
   */
  static async open(url: string, onLost: (error: Error) => void): Promise<PostgresDatabase> {
    const options = { connectionString: url, connectionTimeoutMillis: CONNECT_MS, statement_timeout: STATEMENT_MS };
    const holder = new pg.Client({ ...options, keepAlive: true });
    try {
      await holder.connect();
      const { rows } = await holder.query<{ held: boolean }>('select pg_try_advisory_lock($1) as held', [LOCK]);
      if (rows[0]?.held !== true) throw new Error('another process has it open');
    } catch (cause) {
      await holder.end().catch(() => undefined);
      throw new CodedError('start_failed', `The database of memories cannot be opened: ${messageOf(cause)}.`, {
        cause,
      });
    }
    const pool = new pg.Pool({ ...options, max: MAX_CONNECTIONS });
    // Of an idle connection; the next statement opens another, or says what is wrong.
    pool.on('error', () => undefined);
    holder.on('error', onLost);
    return new PostgresDatabase(pool, holder);
  }

  async rows(sql: string, values: readonly Value[] = []): Promise<unknown[]> {
    return (await this.#pool.query<Record<string, unknown>>(sql, [...values])).rows;
  }

  async transaction<Result>(work: (queries: Queries) => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect();
    let broken = false;
    try {
      await client.query('begin');
      const result = await work({
        rows: async (sql, values = []) => (await client.query<Record<string, unknown>>(sql, [...values])).rows,
      });
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch(() => {
        broken = true;
      });
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /** A server that commits has written; how durably is its operator's choice. */
  flush(): Promise<void> {
    return Promise.resolve();
  }

  async purge(tables: readonly string[]): Promise<void> {
    for (const table of tables) await this.#pool.query(`vacuum ${table}`);
  }

  async close(): Promise<void> {
    this.#holder.removeAllListeners('error');
    await this.#pool.end();
    await this.#holder.end();
  }
}
