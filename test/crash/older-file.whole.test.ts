import { describe, expect, test } from '@jest/globals';
import { isErased } from '../../src/core/jobs/erased-record.ts';
import type { JobDocument } from '../../src/proof/contract/job-document.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { comeBackWith, expectSound, keep, recover } from '../support/older-file.ts';
import { Pipeline, completion, until, type Client } from '../support/pipeline.ts';

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
    // One whose whole record the older file has, and one that it has never seen.
    const erased = await Promise.all(
      [before.shift(), lost.shift()].map((job) => erase(pipeline, client, job?.id ?? '')),
    );
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
    await expectErased(client, erased);
    // Jobs are taken, and wait.
    const waiting = await Promise.all(
      Array.from({ length: 5 }, (__, at) => client.submit(completion(`meanwhile ${at}`))),
    );
    await until(async () => (await Promise.all(waiting.map(({ id }) => client.job(id)))).every(isAttesting));

    expect(await recover(pipeline)).toMatchObject({ recovered: true, restored: lost.length + 1 });
    expect(await recover(pipeline)).toEqual({ recovered: false });
    for (const { id } of waiting) expect((await client.ended(id)).state).toBe('done');
    for (const job of [...before, ...lost]) {
      expect(await client.job(job.id)).toEqual(job);
      verifyReceipt(await client.receipt(job.id), pipeline.keyring, { output: await client.output(job.id) });
    }
    await expectErased(client, erased);
    const { keys } = pipeline.redis;
    const admin = pipeline.redis.client();
    for (const { id } of erased)
      await until(async () => isErased((await admin.getBuffer(keys.record(id))) ?? Buffer.alloc(0)));
    const all = [...before, ...lost, ...erased, ...waiting].map(({ id }) => id);
    await until(async () => (await admin.zcard(keys.unsealed)) === 0);
    expect(await admin.zcard(keys.ended)).toBe(all.length);
    await expectSound(pipeline, client, kept, all);
  });
});

/** Erases a job, everywhere; what is left of it. */
async function erase(pipeline: Pipeline, client: Client, id: string) {
  await client.fetch(`/v1/jobs/${id}`, { method: 'DELETE' });
  await until(async () => (await pipeline.redis.admin.zcard(pipeline.redis.keys.erasures)) === 0);
  return client.job(id);
}

async function expectErased(client: Client, erased: readonly JobDocument[]): Promise<void> {
  for (const job of erased) {
    expect(await client.job(job.id)).toEqual(job);
    expect((await client.fetch(`/v1/jobs/${job.id}/output`)).status).toBe(410);
  }
}

const isAttesting = ({ state }: { state: string }) => state === 'attesting';
