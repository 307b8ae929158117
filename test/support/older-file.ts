import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from '@jest/globals';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import type { Client, Pipeline } from './pipeline.ts';
import { PASSWORD } from './redis.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

const run = promisify(execFile);

/** Redis' append-only file as it is now. */
export function keep(pipeline: Pipeline, name: string): void {
  cpSync(join(pipeline.redis.folder, 'appendonlydir'), join(pipeline.folder, name), { recursive: true });
}

/** Redis is killed and comes back with an older append-only file. */
export async function comeBackWith(pipeline: Pipeline, name: string): Promise<void> {
  const folder = join(pipeline.redis.folder, 'appendonlydir');
  await pipeline.redis.kill();
  rmSync(folder, { recursive: true });
  cpSync(join(pipeline.folder, name), folder, { recursive: true });
  await pipeline.redis.restart();
}

export async function recover(pipeline: Pipeline): Promise<{ recovered: boolean; restored?: number }> {
  mkdirSync(join(pipeline.folder, 'keys'), { recursive: true });
  pipeline.file('keys/redis-attestor.password', PASSWORD);
  chmodSync(join(pipeline.folder, 'keys', 'redis-attestor.password'), 0o600);
  const { stdout } = await run(
    process.execPath,
    [
      join(pipeline.dist, 'roles', 'cli', 'main.js'),
      '--data',
      pipeline.folder,
      'log',
      'recover',
      '--json',
      '--keyring',
      join(pipeline.folder, 'keyring.json'),
    ],
    { env: pipeline.environment('attestor') },
  );
  return JSON.parse(stdout) as { recovered: boolean; restored?: number };
}

/** One log, and in it one verdict of each job. */
export async function expectSound(
  pipeline: Pipeline,
  client: Client,
  kept: string,
  ids: readonly string[],
): Promise<void> {
  const source = (path: string) =>
    client
      .fetch(`/log/${path}`)
      .then(async (response) => (response.ok ? Buffer.from(await response.arrayBuffer()) : undefined));
  const report = await auditLog(source, pipeline.keyring.logPolicy, [kept]);
  const logged: string[] = [];
  for await (const { job } of new JobArchive(new FolderTree(join(pipeline.folder, 'log'))).read(0, report.size))
    if (job !== undefined) logged.push(job.id);
  expect(logged.length).toBe(new Set(logged).size);
  for (const id of ids) expect(logged).toContain(id);
}
