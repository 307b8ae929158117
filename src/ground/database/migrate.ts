import { z } from 'zod';
import { CodedError } from '../errors/coded-error.ts';
import type { Database } from './database.ts';

/** One step of a database's shape: statements that are run once, together. */
export interface Migration {
  readonly name: string;
  readonly statements: readonly string[];
}

const Names = z.array(z.object({ name: z.string() }));

/**
 * Brings a database to the shape that these migrations make, in their order; each is done once and whole.
 * Throws CodedError `start_failed` where the database has a migration that this program does not know: a
 * newer program wrote it.
 */
export async function migrate(database: Database, migrations: readonly Migration[]): Promise<void> {
  await database.rows('create table if not exists migration (name text primary key, at_ms bigint not null)');
  const done = Names.parse(await database.rows('select name from migration order by at_ms, name'));
  const unknown = done.find(({ name }) => !migrations.some((one) => one.name === name));
  if (unknown !== undefined)
    throw new CodedError('start_failed', `The database was changed by a newer program (${unknown.name}).`, {
      hint: 'run the version of countersign that wrote it, or a newer one',
    });
  for (const { name, statements } of migrations) {
    if (done.some((one) => one.name === name)) continue;
    await database.transaction(async ({ rows }) => {
      for (const statement of statements) await rows(statement);
      await rows('insert into migration (name, at_ms) values ($1, $2)', [name, Date.now()]);
    });
  }
}
