import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { announce } from '../../src/core/catalog/announcement.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { NOOP_MODEL, Pipeline, SHORT_LEASE, completion, until, type Client } from '../support/pipeline.ts';
import { newKey } from '../support/sample-receipts.ts';
import { waitingLike } from '../support/waiting-jobs.ts';

const QUEUE = 'default.noop';
const MANY = 5_000;

/** Thousands wait, and more than a page of them are newer than what runs. */
describe('with 5,000 jobs waiting', () => {
  let pipeline: Pipeline;
  let client: Client;
  let admin: Redis;
  beforeAll(async () => {
    pipeline = await Pipeline.start({ workers: 0 });
    client = await pipeline.client('operator');
    admin = pipeline.redis.client();
    const { id } = await client.submit(completion('waits'));
    await waitingLike({ keys: pipeline.redis.keys, admin }, id, MANY, Date.now() + 3_600_000);
  });
  afterAll(() => pipeline[Symbol.asyncDispose]());

  const running = async () =>
    (await client.json<{ jobs: { id: string }[] }>('/v1/jobs?state=running')).jobs.map(({ id }) => id);

  test('the list of running jobs shows those that run, and only for as long as they do', async () => {
    const hand = pipeline.hand(1);
    const ids = await admin.zrange(pipeline.redis.keys.backlog(QUEUE), '0', '2');
    const claims = await Promise.all(ids.map((id) => hand.claim(id)));
    await until(async () => (await running()).length === 3);
    expect((await running()).toSorted()).toEqual(ids.toSorted());
    await Promise.all(claims.map((claim) => hand.commit(claim)));
    await until(async () => (await running()).length === 0);
    // A worker that is lost gives back what it held: the job waits at the head, and no longer runs.
    const hasty = pipeline.hand(2, 1_000);
    const [lost = ''] = await admin.zrange(pipeline.redis.keys.backlog(QUEUE), '0', '0');
    await hasty.claim(lost);
    await until(async () => (await client.job(lost)).attempts[0]?.closed?.why === 'lost');
    expect([await running(), (await client.job(lost)).state]).toEqual([[], 'queued']);
  });

  test('a worker is fed until it is killed, and others go on with what it held', async () => {
    const before = await admin.zcard(pipeline.redis.keys.backlog(QUEUE));
    const first = await pipeline.worker(1, SHORT_LEASE);
    await until(async () => (await admin.zcard(pipeline.redis.keys.backlog(QUEUE))) < before - 500);
    first.process.kill('SIGKILL');
    await first.exited;
    await pipeline.worker(2);
    await until(async () => (await admin.zcard(pipeline.redis.keys.open)) === 0);
    for (const set of ['backlog', 'released', 'leases'] as const)
      expect([set, await admin.zcard(pipeline.redis.keys[set](QUEUE))]).toEqual([set, 0]);
    expect(await admin.zcard(pipeline.redis.keys.confirmations)).toBe(0);
    // The copies are not what their tickets say, and are given back until they fail: each ends all the same.
    await until(async () => (await admin.zcard(pipeline.redis.keys.unsealed)) === 0);
    expect(await admin.zcard(pipeline.redis.keys.ended)).toBe(MANY + 1);
  });

  test('slots are those of enrolled workers, whatever a stranger announces', async () => {
    const { keys } = pipeline.redis;
    await until(async () => (await admin.hget(keys.pace(QUEUE), 'slots')) === String(NOOP_MODEL.parallel));
    const key = newKey();
    const worker = pipeline.hand(1).redis;
    const model = { name: 'noop', sha256: NOOP_MODEL.sha256, engine: 'noop', engineVersion: '1', engineSha256: '0' };
    const facts = { role: 'worker', pool: 'default', startedAt: new Date().toISOString(), inFlight: 0 } as const;
    await announce(
      worker,
      keys,
      {
        ...facts,
        id: workerIdOf(key.public),
        publicKey: key.public.raw,
        models: [{ ...model, slots: 10_000 }],
        state: 'consuming',
      },
      key,
    );
    await until(async () => (await client.json<{ workers: unknown[] }>('/v1/workers')).workers.length === 2);
    // It is written again within moments, and not with the stranger's.
    await admin.hdel(keys.pace(QUEUE), 'slots');
    expect(await until(async () => (await admin.hget(keys.pace(QUEUE), 'slots')) ?? undefined)).toBe(
      String(NOOP_MODEL.parallel),
    );
  });
});
