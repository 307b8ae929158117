import { mkdirSync } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { CodedError, messageOf, systemCodeOf } from '../errors/coded-error.ts';
import type { Database, Queries, Value } from './database.ts';
import { lockFolder } from './folder-lock.ts';

/** Files that changed so shortly before the last look count as changed since: file systems round times. */
const CLOCK_GRAIN_MS = 2_000;
/** Names of segments of the write-ahead log. */
const LOG_SEGMENT = /^[0-9A-F]{24}$/;

/**
 * PostgreSQL inside this process, in a folder that no other process has open. It writes through the system
 * and never waits for the disk by itself, so this does: the write-ahead log after each transaction, and on
 * `flush` every file.
 */
export class PgliteDatabase implements Database {
  readonly #folder: string;
  readonly #engine: PGlite;
  readonly #release: () => void;
  #loggedMs = 0;
  #flushedMs = 0;

  private constructor(folder: string, engine: PGlite, release: () => void) {
    this.#folder = folder;
    this.#engine = engine;
    this.#release = release;
  }

  /** Makes the database where the folder has none. Throws CodedError `start_failed`. */
  static async open(folder: string): Promise<PgliteDatabase> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const release = await lockFolder(folder);
    const data = join(folder, 'database');
    try {
      const engine = await PGlite.create(data);
      // A segment of the log that is no longer needed is removed, and not kept under another name with what
      // is in it.
      await engine.exec('set wal_recycle = off');
      return new PgliteDatabase(data, engine, release);
    } catch (cause) {
      release();
      throw new CodedError('start_failed', `The database in ${data} cannot be opened: ${messageOf(cause)}`, { cause });
    }
  }

  async rows(sql: string, values: readonly Value[] = []): Promise<unknown[]> {
    return (await this.#engine.query(sql, [...values])).rows;
  }

  async transaction<Result>(work: (queries: Queries) => Promise<Result>): Promise<Result> {
    const result = await this.#engine.transaction((inner) =>
      work({ rows: async (sql, values = []) => (await inner.query(sql, [...values])).rows }),
    );
    await this.#syncLog();
    return result;
  }

  async flush(): Promise<void> {
    await this.#engine.query('checkpoint');
    const since = this.#flushedMs;
    this.#flushedMs = Date.now();
    for (const entry of await readdir(this.#folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isDirectory() || entry.isFile()) await syncWhereChanged(path, since);
    }
  }

  async purge(tables: readonly string[]): Promise<void> {
    for (const table of tables) await this.#engine.query(`vacuum full ${table}`);
    // The log goes on in a new segment, and the ones before it are needed no more.
    await this.flush();
    await this.#engine.query('select pg_switch_wal()');
    await this.#engine.query('select txid_current()');
    await this.flush();
  }

  async close(): Promise<void> {
    await this.#engine.close();
    this.#flushedMs = 0;
    this.#release();
  }

  async #syncLog(): Promise<void> {
    const folder = join(this.#folder, 'pg_wal');
    const since = this.#loggedMs;
    this.#loggedMs = Date.now();
    for (const name of await readdir(folder))
      if (LOG_SEGMENT.test(name)) await syncWhereChanged(join(folder, name), since);
  }
}

/** A file that has gone meanwhile needs no disk. */
async function syncWhereChanged(path: string, sinceMs: number): Promise<void> {
  try {
    if ((await stat(path)).mtimeMs < sinceMs - CLOCK_GRAIN_MS) return;
    const file = await open(path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
}
