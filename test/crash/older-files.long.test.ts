import { describe, expect, test } from '@jest/globals';
import type { JobDocument } from '../../src/proof/contract/job-document.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { comeBackWith, expectSound, keep, recover } from '../support/older-file.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';

const FILES = 10;

describe('Redis comes back with an older append-only file, again and again', () => {
  test('under load, attestors running and stopped: what was told done stays done, and the log is one', async () => {
    await using pipeline = await Pipeline.start({ workers: 2, attestors: 2 });
    const client = await pipeline.client();
    const told = new Map<string, JobDocument>();
    const run = async (name: string) => {
      const job = await client.submit(completion(name), { prefer: 'wait=20' }).catch(() => undefined);
      if (job?.state === 'done') told.set(job.id, job);
    };
    let kept = '';
    for (let file = 0; file < FILES; file += 1) {
      const load = (async () => {
        for (let turn = 0; turn < 6; turn += 1)
          await Promise.all(Array.from({ length: 10 }, (_, at) => run(`${file} ${turn} ${at}`)));
      })();
      const before = told.size;
      await until(() => Promise.resolve(told.size >= before + 5));
      keep(pipeline, `older-${file}`);
      await load;
      kept = await (await client.fetch('/log/checkpoint')).text();
      const isStopped = file % 2 === 1;
      if (isStopped) await pipeline.kill('attestor');
      await comeBackWith(pipeline, `older-${file}`);
      for (const job of told.values())
        expect(await until(() => client.job(job.id).catch(() => undefined))).toEqual(job);
      if (isStopped) await Promise.all([pipeline.attestor(), pipeline.attestor()]);
      await until(async () => (await recover(pipeline).catch(() => undefined)) !== undefined);
      expect(await recover(pipeline)).toEqual({ recovered: false });
      await until(
        async () => (await client.submit(completion(`after ${file}`), { prefer: 'wait=20' })).state === 'done',
      );
      for (const job of told.values()) expect(await client.job(job.id)).toEqual(job);
      await expectSound(pipeline, client, kept, [...told.keys()]);
    }
    for (const { id } of told.values())
      verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
  }, 600_000);

  test('an attestor that is configured so gives back what Redis has lost by itself', async () => {
    await using pipeline = await Pipeline.start({ workers: 1, env: { 'attestor:COUNTERSIGN_LOG_RECOVERY': 'auto' } });
    const client = await pipeline.client();
    keep(pipeline, 'older');
    const jobs = await Promise.all(Array.from({ length: 10 }, (_, at) => client.run(completion(`lost ${at}`))));
    const kept = await (await client.fetch('/log/checkpoint')).text();
    await comeBackWith(pipeline, 'older');
    await until(async () => (await client.submit(completion('after'), { prefer: 'wait=20' })).state === 'done');
    for (const job of jobs) expect(await client.job(job.id)).toEqual(job);
    await expectSound(
      pipeline,
      client,
      kept,
      jobs.map(({ id }) => id),
    );
  }, 200_000);
});
