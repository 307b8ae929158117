import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { findRedisServer } from './redis-server.ts';

/** A PATH with these programs of the system and no others. */
function pathOf(folder: string, isOnIt: (program: string) => boolean): string {
  mkdirSync(folder);
  for (const program of readdirSync('/usr/bin').filter(isOnIt))
    symlinkSync(join('/usr/bin', program), join(folder, program));
  return folder;
}

describe('on a machine without a Redis', () => {
  let folder = '';
  const path = process.env['PATH'];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-debian-redis-'));
  });
  afterAll(() => {
    process.env['PATH'] = path;
    rmSync(folder, { recursive: true, force: true });
  });

  test("Debian's server is unpacked, said once, runs with its libraries, and is found again without a word", async () => {
    process.env['PATH'] = pathOf(join(folder, 'bin'), (program) => !/^(redis|valkey)-/.test(program));
    const said: string[] = [];
    const say = (line: string) => void said.push(line);
    const program = await findRedisServer(join(folder, 'redis'), say);
    expect(said).toEqual([expect.stringContaining("fetching Debian's redis-server")]);
    const version = execFileSync(program.path, ['--version'], { env: program.env, encoding: 'utf8' });
    expect(version).toMatch(/^Redis server v=/);
    expect(await findRedisServer(join(folder, 'redis'), say)).toEqual(program);
    expect(said).toHaveLength(1);
    // Nothing else stays.
    expect(readdirSync(join(folder, 'redis'))).toEqual(['root']);
  });

  test('that is no Debian either, the last line names what is missing, and nothing is left', () => {
    const bin = pathOf(join(folder, 'bin-elsewhere'), (program) => !/^(redis|valkey|apt|dpkg)/.test(program));
    const script = fileURLToPath(new URL('./debian-redis.sh', import.meta.url));
    const done = spawnSync('/bin/sh', [script, join(folder, 'none')], { env: { PATH: bin }, encoding: 'utf8' });
    expect(done.status).not.toBe(0);
    expect(done.stderr.trim().split('\n').at(-1)).toContain('apt-get');
    expect(readdirSync(join(folder, 'none'))).toEqual([]);
  });
});
