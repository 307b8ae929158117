import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, describe, expect, test } from '@jest/globals';
import { Child } from './children.ts';
import { wholeTest } from '../../../test/support/thorough.ts';

const folder = mkdtempSync(join(tmpdir(), 'cs-children-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A process of a role that notes each start; `at` is what it does at its n-th. */
function child(name: string, at: string) {
  const [program, starts] = [join(folder, `${name}.mjs`), join(folder, `${name}.starts`)];
  writeFileSync(starts, '');
  writeFileSync(
    program,
    `import { appendFileSync, readFileSync } from 'node:fs';
     appendFileSync(${JSON.stringify(starts)}, '.');
     const n = readFileSync(${JSON.stringify(starts)}).length;
     const ready = () => process.stdout.write('{"ready":true}\\n');
     process.on('SIGTERM', () => process.exit(0));
     setInterval(() => undefined, 1_000);
     ${at}`,
  );
  const said: string[] = [];
  const spec = { name, role: 'courier', env: {}, logFile: join(folder, `${name}.log`) } as const;
  const startsNow = () => readFileSync(starts).length;
  return { child: new Child(spec, (_, detail) => said.push(detail), program), said, starts: startsNow };
}

describe('a process of `npm start`', () => {
  wholeTest(
    'that dies again and again is started again with growing pauses, each said once, until it stays',
    async () => {
      const {
        child: role,
        said,
        starts,
      } = child(
        'dying',
        `if (n === 1 || n === 4) ready();
       if (n === 1) setTimeout(() => process.exit(3), 50);
       if (n === 2) process.kill(process.pid, 'SIGKILL');
       if (n === 3) { process.stderr.write('error: no way\\n'); process.exit(2); }`,
      );
      await role.start();
      while (starts() < 4) await pause(50);
      expect(said.map((line) => line.replaceAll(folder, ''))).toEqual([
        'ended (exit code 3) and is restarted in 1 s; see /dying.log',
        'ended (The dying ended at once (SIGKILL); see /dying.log.) and is restarted in 2 s; see /dying.log',
        'ended (no way) and is restarted in 4 s; see /dying.log',
      ]);
      await role.stop();
      expect(starts()).toBe(4);
    },
  );

  test('that is to stop is not started again, also in a pause', async () => {
    const { child: role, said, starts } = child('stopped', 'ready(); setTimeout(() => process.exit(1), 50);');
    await role.start();
    while (said.length === 0) await pause(10);
    await role.stop();
    await pause(1_500);
    expect(starts()).toBe(1);
  });

  test('that does not start at all fails the start, with the reason', async () => {
    const { child: role } = child('unfit', "process.stderr.write('error: unfit: for work\\n'); process.exit(2);");
    await expect(role.start()).rejects.toMatchObject({ code: 'start_failed', message: 'unfit: for work' });
  });
});
