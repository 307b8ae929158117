import { execFile } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import type { JobDocument } from '../../src/proof/contract/job-document.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until, type Client } from '../support/pipeline.ts';

const run = promisify(execFile);

/** Longer than what stands in a ticket, so that it is a blob. */
const LONG = 'In the beginning '.repeat(1_000);

/** docs/backup.md, in its order and with its commands: Redis, then blobs and files, then the log. */
class Backup {
  readonly #pipeline: Pipeline;

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline;
  }

  async takeRedis(): Promise<void> {
    const admin = this.#pipeline.redis.client();
    await admin.bgrewriteaof();
    // A rewrite that has to wait for another child of Redis is scheduled, and is not in progress yet.
    const ended = ['aof_rewrite_scheduled:0', 'aof_rewrite_in_progress:0', 'aof_last_bgrewrite_status:ok'];
    await until(async () => {
      const told = await admin.info('persistence');
      return ended.every((line) => told.includes(line));
    });
    this.#copy(join(this.#pipeline.redis.folder, 'appendonlydir'), 'redis');
  }

  takeFolders(): void {
    for (const name of ['blobs', 'files'])
      if (existsSync(this.#at(name))) this.#copy(this.#at(name), name, (path) => !path.endsWith('.tmp'));
  }

  /** The checkpoint last: what it covers is then in the copy. */
  takeLog(): void {
    const log = this.#at('log');
    this.#copy(log, 'log', (path) => path !== join(log, 'checkpoint'));
    this.#copy(join(log, 'checkpoint'), 'log/checkpoint');
  }

  /**
   * Every role and Redis are gone, and so are their disks; then the copies are put back, and Redis starts.
   */
  async loseAllAndRestore(): Promise<void> {
    const { redis } = this.#pipeline;
    for (const role of ['api', 'courier', 'worker', 'attestor'] as const) await this.#pipeline.kill(role);
    await redis.kill();
    const folders = new Map([
      ['redis', join(redis.folder, 'appendonlydir')],
      ...['blobs', 'files', 'log'].map((name): [string, string] => [name, this.#at(name)]),
    ]);
    for (const [name, folder] of folders) {
      rmSync(folder, { recursive: true, force: true });
      if (existsSync(this.#at('backup', name))) cpSync(this.#at('backup', name), folder, { recursive: true });
    }
    await redis.restart();
  }

  readonly #at = (...parts: string[]): string => join(this.#pipeline.folder, ...parts);

  #copy(from: string, to: string, filter: (path: string) => boolean = () => true): void {
    cpSync(from, this.#at('backup', to), { recursive: true, filter });
  }
}

/** A command of ours, under the environment of a role; its JSON. */
async function countersign(pipeline: Pipeline, role: 'api' | 'attestor', ...args: string[]): Promise<unknown> {
  const cli = join(pipeline.dist, 'roles', 'cli', 'main.js');
  const asked = run(process.execPath, [cli, ...args, '--json'], { env: pipeline.environment(role) });
  // What is wrong is told in the answer, and by the exit code as well.
  const { stdout } = await asked.catch((error: unknown) => z.object({ stdout: z.string().min(1) }).parse(error));
  return JSON.parse(stdout);
}

/** Everything of a job that its owner can ask for. */
async function all(client: Client, { id }: JobDocument) {
  const [job, output, receipt] = await Promise.all([client.job(id), client.output(id), client.receipt(id)]);
  return { job, output: output.toString('utf8'), receipt };
}

const START = { workers: 1, couriers: 1 };

test('what was copied while it ran, by the document, is a whole installation again after everything is lost', async () => {
  await using pipeline = await Pipeline.start(START);
  const backup = new Backup(pipeline);
  const client = await pipeline.client();
  const done = async (name: string, count: number) => {
    const jobs = await Promise.all(Array.from({ length: count }, (_, at) => client.run(completion(`${name} ${at}`))));
    return [...jobs, await client.run(completion(`${name} ${LONG}`))];
  };
  const before = await done('before', 8);
  const form = new FormData();
  form.append('purpose', 'batch');
  form.append('file', new Blob(['{"kept":true}\n']), 'kept.jsonl');
  const file = await client.json<{ id: string }>('/v1/files', { method: 'POST', body: form });
  const made = await client.post('/v1/schedules', { cron: '@yearly', name: 'kept', request: completion('yearly') });
  const schedule = (await made.json()) as { id: string };

  await backup.takeRedis();
  // What is done between the copies is in the log alone: Redis' copy is older than it, as it usually is.
  const between = await done('between', 6);
  backup.takeFolders();
  backup.takeLog();
  const sent = { 'idempotency-key': '"again"' };
  const lost = await client.submit(completion('after all copies'), sent);
  const after = [await client.ended(lost.id), ...(await done('after', 3))];
  const kept = await Promise.all([...before, ...between].map((job) => all(client, job)));

  await backup.loseAllAndRestore();
  expect(readdirSync(join(pipeline.folder, 'backup')).toSorted()).toEqual(['blobs', 'files', 'log', 'redis']);
  await pipeline.attestor();
  await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.courier()]);
  client.url = pipeline.url;
  await until(async () =>
    JSON.stringify(await (await client.fetch('/health/ready')).json().catch(() => ({}))).includes('log_diverged'),
  );
  expect(await countersign(pipeline, 'attestor', 'log', 'recover')).toMatchObject({ recovered: true });

  for (const { job, output, receipt } of kept) {
    expect(await client.job(job.id)).toEqual(job);
    expect((await client.output(job.id)).toString('utf8')).toBe(output);
    verifyReceipt(receipt, pipeline.keyring);
    verifyReceipt(await client.receipt(job.id), pipeline.keyring, { output: Buffer.from(output) });
  }
  // What is in no copy is gone, and is done again by whoever still wants it.
  for (const { id } of after) expect((await client.fetch(`/v1/jobs/${id}`)).status).toBe(404);
  const again = await client.submit(completion('after all copies'), sent);
  expect((await client.ended(again.id)).state).toBe('done');
  expect(await (await client.fetch(`/v1/files/${file.id}/content`)).text()).toBe('{"kept":true}\n');
  expect(await client.json(`/v1/schedules/${schedule.id}`)).toMatchObject({ name: 'kept', state: 'active' });
  expect((await client.run(completion('new'))).state).toBe('done');

  // What the document asks a restored copy.
  expect(await countersign(pipeline, 'api', 'log', 'audit')).toMatchObject({ sound: true });
  const ledger = (await countersign(pipeline, 'api', 'ledger', 'check')) as { audits: { problems: unknown[] }[] };
  expect(ledger.audits.flatMap(({ problems }) => problems)).toEqual([]);
});
