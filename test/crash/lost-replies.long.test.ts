import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { LossyProxy } from '../support/lossy-proxy.ts';
import { Pipeline, completion, until } from '../support/pipeline.ts';
import { IS_LONG } from '../support/thorough.ts';

/** Each lost reply is waited for in vain until its time is up, so that most of this test is waiting. */
const JOBS = IS_LONG ? 60 : 20;

describe('a reply of Redis that is lost after its request was applied', () => {
  test('doubles nothing, wherever it happens: admission, queue, claim, commit and ruling', async () => {
    await using pipeline = await Pipeline.prepare();
    const target = pipeline.redis.url.slice('unix://'.length);
    const proxy = (name: string, every: number) =>
      LossyProxy.start(join(pipeline.folder, `${name}.sock`), target, every);
    await using forApi = await proxy('api', 13);
    await using forWorker = await proxy('worker', 17);
    await using forAttestor = await proxy('attestor', 7);
    await Promise.all([
      pipeline.api({ COUNTERSIGN_REDIS_URL: forApi.url }),
      pipeline.worker(1, { COUNTERSIGN_REDIS_URL: forWorker.url }),
      pipeline.attestor({ COUNTERSIGN_REDIS_URL: forAttestor.url }),
    ]);
    const client = await pipeline.client();
    const ids: string[] = [];
    for (let index = 0; index < JOBS; index += 1) {
      const job = await until(() =>
        client
          .submit(completion(`${index}`, { attempts: 10 }), { 'idempotency-key': `"lost-${index}"` })
          .catch(() => undefined),
      );
      ids.push(job.id);
    }
    for (const id of ids) {
      let last: unknown;
      const job = await until(async () => {
        const view = await client.ended(id).catch((error: unknown) => void (last = error));
        last = view ?? last;
        return view !== undefined && view.ended_at !== null && view;
      }).catch((cause: unknown) => {
        throw new Error(`${id} did not end: ${JSON.stringify(last)}`, { cause });
      });
      expect([id, job.state]).toEqual([id, 'done']);
      const receipt = await until(() => client.receipt(id).catch(() => undefined));
      verifyReceipt(receipt, pipeline.keyring);
    }
    expect(new Set(ids).size).toBe(JOBS);
    const admin = pipeline.redis.client();
    await until(async () => (await admin.zcard(pipeline.redis.keys.unsealed)) === 0);
    expect(await admin.zcard(pipeline.redis.keys.ended)).toBe(JOBS);
    expect(await admin.zcard(pipeline.redis.keys.open)).toBe(0);
    for (const { lost } of [forApi, forWorker, forAttestor]) expect(lost).toBeGreaterThan(2);
  });
});
