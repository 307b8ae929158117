/** What a statement may be given as a parameter. */
export type Value = string | number | boolean | Uint8Array | null | readonly string[];

/** Statements of one connection, or of one transaction. */
export interface Queries {
  /**
   * Runs one statement with its parameters (`$1`, …) and returns its rows, for the caller to parse: whole
   * numbers come as numbers or as text, bytes as Uint8Array. Throws what the database says.
   */
  readonly rows: (sql: string, values?: readonly Value[]) => Promise<unknown[]>;
}

/**
 * A PostgreSQL database, embedded or a server: the same statements work on both. This process is the only one
 * that has it open; whoever opens it as the second is refused.
 */
export interface Database extends Queries {
  /**
   * Runs statements as one transaction: all of them count, or none where `work` throws. What has resolved
   * survives the end of this process, and of the machine as far as `docs/memory.md` says.
   */
  transaction<Result>(work: (queries: Queries) => Promise<Result>): Promise<Result>;
  /** Resolves when everything that was committed is on disk, so that what it replaces may be destroyed. */
  flush(): Promise<void>;
  /**
   * Rewrites tables, so that nothing of rows that were removed stays in the files of an embedded database or
   * in its write-ahead log. What a server keeps in its log is its operator's to say.
   */
  purge(tables: readonly string[]): Promise<void>;
  close(): Promise<void>;
}
