// A PostgreSQL server of its own in a folder that goes with it, where one is installed (Debian:
// `postgresql`).
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const VERSIONS = '/usr/lib/postgresql';
/** A server refuses root; this is nobody. */
const NOBODY = 65_534;
const START_MS = 30_000;

/** The server, once it takes connections; undefined where none is. Throws where it does not start. */
export async function startPostgres() {
  const bin = existsSync(VERSIONS)
    ? readdirSync(VERSIONS)
        .map((version) => join(VERSIONS, version, 'bin'))
        .find((folder) => existsSync(join(folder, 'initdb')))
    : undefined;
  if (bin === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'cs-bench-pg-'));
  const isRoot = process.getuid?.() === 0;
  const as = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (isRoot) chownSync(folder, NOBODY, NOBODY);
  const data = join(folder, 'data');
  const made = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'bench', '-A', 'trust', '--locale=C', '-E', 'UTF8'],
    as,
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr.toString().trim().split('\n').at(-1)}`);
  const server = spawn(join(bin, 'postgres'), ['-D', data, '-k', folder, '-c', 'listen_addresses='], {
    ...as,
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  for (
    const until = Date.now() + START_MS;
    spawnSync(join(bin, 'pg_isready'), ['-h', folder]).status !== 0;
    await sleep(100)
  )
    if (Date.now() > until) throw new Error('PostgreSQL does not start.');
  return {
    url: `postgres://bench@localhost/postgres?host=${encodeURIComponent(folder)}`,
    version: `PostgreSQL ${/\d+/.exec(execFileSync(join(bin, 'postgres'), ['--version'], { encoding: 'utf8' }))[0]}`,
    async stop() {
      server.kill('SIGINT');
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}
