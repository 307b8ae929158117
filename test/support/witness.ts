import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './pipeline.ts';
import { ROOT } from './redis.ts';

/** A real witness process of a log; the line that a policy needs for it, under the name `w<number>`. */
export async function startWitness(
  folder: string,
  number: number,
  log: string,
  port: number,
): Promise<{ process: ChildProcess; line: string }> {
  const policy = join(folder, 'witness.policy');
  writeFileSync(policy, log);
  const file = (name: string) => join(folder, `witness-${number}${name}`);
  const name = `witness-${number}.test`;
  const args = [
    ...['--name', name, '--key', file('.key'), '--policy', policy],
    ...['--folder', file(''), '--port', String(port)],
  ];
  const process = spawn(
    globalThis.process.execPath,
    [join(ROOT, 'dist', 'roles', 'cli', 'main.js'), 'witness', ...args],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let said = '';
  process.stdout.on('data', (piece: Buffer) => {
    said += piece.toString();
  });
  await until(() => said.endsWith('\n'));
  // As the operator of the log would write it down, under a name of its own.
  const line = said.trim().replace(`witness ${name} `, `witness w${number} `);
  return { process, line };
}
