import { spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { PostgresDatabase } from '../../src/ground/database/postgres-database.ts';
import { memoryContract } from '../support/memory-contract.ts';
import { until } from '../support/pipeline.ts';

const VERSIONS = '/usr/lib/postgresql';
const programs = existsSync(VERSIONS)
  ? readdirSync(VERSIONS)
      .map((version) => join(VERSIONS, version, 'bin'))
      .filter((folder) => existsSync(join(folder, 'initdb')))
  : [];
const [bin] = programs;
if (bin === undefined) process.stderr.write('skipped: no PostgreSQL server is installed here (Debian: postgresql)\n');

/** A user who is not root, as whom the server runs: it refuses root. */
const NOBODY = 65_534;

(bin === undefined ? describe.skip : describe)('Memories in a PostgreSQL server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-pg-'));
  const as = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (process.getuid?.() === 0) chownSync(folder, NOBODY, NOBODY);
  const data = join(folder, 'data');
  const made = spawnSync(
    join(bin ?? '', 'initdb'),
    ['-D', data, '-U', 'memory', '-A', 'trust', '--locale=C', '-E', 'UTF8'],
    as,
  );
  const server = spawn(join(bin ?? '', 'postgres'), ['-D', data, '-k', folder, '-c', 'listen_addresses='], {
    ...as,
    stdio: 'ignore',
  });
  const url = `postgres://memory@localhost/postgres?host=${encodeURIComponent(folder)}`;
  const open = () =>
    until(() =>
      PostgresDatabase.open(url, () => undefined).catch((error: unknown) => {
        if (String(error).includes('another process')) throw error;
        return undefined;
      }),
    );
  afterAll(() => {
    server.kill('SIGTERM');
  });

  test('the server was made', () => {
    expect(made.status).toBe(0);
  });

  memoryContract(open);

  test('a second process is refused while one has the database', async () => {
    await expect(open()).rejects.toMatchObject({ code: 'start_failed' });
  });
});
