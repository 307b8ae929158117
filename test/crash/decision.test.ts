import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, completion, until, type Client } from '../support/pipeline.ts';

/** A verdict has its place in the log, and the attestor dies before a checkpoint holds it. */
describe('the place in the log is the decision', () => {
  let pipeline: Pipeline;
  let client: Client;
  beforeAll(async () => {
    pipeline = await Pipeline.prepare();
    await pipeline.api();
    client = await pipeline.client();
  });
  afterAll(() => pipeline[Symbol.asyncDispose]());

  /** A job whose place is given and not published. */
  async function decided(name: string, more: object = {}): Promise<string> {
    const attestor = await pipeline.attestor({ COUNTERSIGN_CRASH_AT: 'attestor.after-sequence:1' });
    const worker = pipeline.hand(1);
    const job = await client.submit(completion(name, more));
    await worker.commit(await worker.claim(job.id));
    expect(await attestor.exited).toBe('SIGKILL');
    expect(await pipeline.redis.client().hexists(pipeline.redis.keys.ruling(job.id), 'logged')).toBe(1);
    return job.id;
  }

  async function expectDone(id: string): Promise<void> {
    await pipeline.attestor();
    const job = await client.ended(id);
    expect([job.state, job.attempts.length]).toEqual(['done', 1]);
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
    await pipeline.kill('attestor');
  }

  test('a cancel is refused, and the job is done', async () => {
    const id = await decided('cancelled too late');
    const answer = await client.post(`/v1/jobs/${id}/cancel`, undefined);
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([409, 'confirmed_not_published']);
    expect((await client.job(id)).state).toBe('attesting');
    await expectDone(id);
  });

  test('a deadline that passes meanwhile does not expire it', async () => {
    const id = await decided('past its deadline', { deadline_ms: 1_000 });
    await until(async () => Date.parse((await client.job(id)).deadline) < Date.now() - 2_000);
    await expectDone(id);
  });

  test('a claim that a hostile worker makes beside it undoes nothing', async () => {
    const id = await decided('squatted');
    const { redis, keys } = pipeline.hand(2);
    await redis.hsetnx(keys.claims(id), 'e2', `${pipeline.hand(2).id} token ${Date.now()}`);
    await expectDone(id);
  });
});
