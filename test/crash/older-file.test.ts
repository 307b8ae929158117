import { execFile } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until, type Client } from '../support/pipeline.ts';
import { PASSWORD } from '../support/redis.ts';

const run = promisify(execFile);

/** Redis' append-only file as it is now. */
function keep(pipeline: Pipeline, name: string): void {
  cpSync(join(pipeline.redis.folder, 'appendonlydir'), join(pipeline.folder, name), { recursive: true });
}

/** Redis is killed and comes back with an older append-only file. */
async function comeBackWith(pipeline: Pipeline, name: string): Promise<void> {
  const folder = join(pipeline.redis.folder, 'appendonlydir');
  await pipeline.redis.kill();
  rmSync(folder, { recursive: true });
  cpSync(join(pipeline.folder, name), folder, { recursive: true });
  await pipeline.redis.restart();
}

async function recover(pipeline: Pipeline): Promise<{ recovered: boolean; restored?: number }> {
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
async function expectSound(pipeline: Pipeline, client: Client, kept: string, ids: readonly string[]): Promise<void> {
  const source = (path: string) =>
    client
      .fetch(`/log/${path}`)
      .then(async (response) => (response.ok ? Buffer.from(await response.arrayBuffer()) : undefined));
  const report = await auditLog(source, pipeline.keyring.logPolicy, [kept]);
  const logged: string[] = [];
  for await (const { job } of new JobArchive(join(pipeline.folder, 'log', 'archive')).read(0, report.size))
    if (job !== undefined) logged.push(job.id);
  expect(logged.length).toBe(new Set(logged).size);
  for (const id of ids) expect(logged).toContain(id);
}

describe('Redis comes back with an older append-only file', () => {
  test.each([
    ['run on', false],
    ['were stopped', true],
  ])('what was told done stays done, and the log goes on as one: the attestors %s', async (_, isStopped) => {
    await using pipeline = await Pipeline.start({ workers: 1, couriers: 1 });
    const client = await pipeline.client();
    const jobs = async (count: number, name: string) =>
      Promise.all(Array.from({ length: count }, (__, at) => client.run(completion(`${name} ${at}`))));
    const before = await jobs(10, 'before');
    keep(pipeline, 'older');
    const lost = await jobs(20, 'lost');
    const kept = await (await client.fetch('/log/checkpoint')).text();
    if (isStopped) await pipeline.kill('attestor');
    await comeBackWith(pipeline, 'older');
    if (isStopped) await pipeline.attestor();

    // Nothing is confirmed, and everybody is told; what was done is shown as it was.
    await until(async () =>
      JSON.stringify(await (await client.fetch('/health/ready')).json().catch(() => ({}))).includes('log_diverged'),
    );
    for (const job of [...before, ...lost]) expect(await client.job(job.id)).toEqual(job);
    for (const { id } of lost) expect((await client.output(id)).length).toBeGreaterThan(0);
    // Jobs are taken, and wait.
    const waiting = await Promise.all(
      Array.from({ length: 5 }, (__, at) => client.submit(completion(`meanwhile ${at}`))),
    );
    await until(async () => (await Promise.all(waiting.map(({ id }) => client.job(id)))).every(isAttesting));

    expect(await recover(pipeline)).toMatchObject({ recovered: true, restored: lost.length });
    expect(await recover(pipeline)).toEqual({ recovered: false });
    for (const { id } of waiting) expect((await client.ended(id)).state).toBe('done');
    for (const job of [...before, ...lost]) {
      expect(await client.job(job.id)).toEqual(job);
      verifyReceipt(await client.receipt(job.id), pipeline.keyring, { output: await client.output(job.id) });
    }
    const all = [...before, ...lost, ...waiting].map(({ id }) => id);
    await until(async () => (await pipeline.redis.client().zcard(pipeline.redis.keys.unsealed)) === 0);
    expect(await pipeline.redis.client().zcard(pipeline.redis.keys.ended)).toBe(all.length);
    await expectSound(pipeline, client, kept, all);
  });
});

const isAttesting = ({ state }: { state: string }) => state === 'attesting';
