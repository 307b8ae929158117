import { Worker } from 'bullmq';
import { describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { AuditFiles } from '../../src/core/audit/audit-files.ts';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import { PoolEmptier } from '../../src/core/backlog/pool-emptier.ts';
import { Pools } from '../../src/core/backlog/pool.store.ts';
import { readCases } from '../../src/core/confirmation/case-file.ts';
import { cancellation } from '../../src/core/confirmation/decisions.ts';
import { DEFAULT_HINT } from '../../src/core/engines/time-hint.ts';
import { keepLearned } from '../../src/core/forecast/learned.store.ts';
import { toldIn } from '../../src/core/forecast/offer.ts';
import { Outlooks } from '../../src/core/forecast/outlooks.ts';
import { Prospects } from '../../src/core/forecast/prospects.ts';
import { memoryOfRates } from '../../src/core/forecast/queue-state.ts';
import { whyOf } from '../../src/core/forecast/why.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import type { Delivery } from '../../src/ground/bull/pool-queues.ts';
import { redisOptions } from '../../src/ground/redis/connection.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { PriceTable } from '../../src/surfaces/ledger/price-table.ts';
import { admissionTo } from '../support/admission.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { NOOP_MODEL, completion, until } from '../support/pipeline.ts';
import { backlogOf } from '../support/queues.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { IS_LONG, wholeTest } from '../support/thorough.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

const QUEUE = 'default.noop';
const ALONE = { attestors: { present: 1, able: 1, problem: undefined }, enginesAway: 0 };
const PRICES = PriceTable.parse(
  JSON.stringify({ version: 1, id: 'v1', currency: 'EUR', models: { noop: { input: 0, output: 1 } } }),
  'prices',
);
/** What is released where nothing is known of workers. */
const FLOOR = 16;

/** An API and an attestor's hands on one Redis; nobody ticks. */
function house(server: TestRedis) {
  const admission = admissionTo(server, PRICES);
  const { keys } = server;
  const attestor = server.client('attestor');
  const backlog = backlogOf(attestor, keys);
  const tenantOf = new Map<string, string>();
  /** Jobs of a tenant, of so many units of cost, in their order. */
  const submit = async (tenant: string, count: number, cost = 1): Promise<string[]> => {
    const body = parse(SubmitJob, completion('x', { params: { max_tokens: 64 * cost - 1 } }));
    const jobs = Array.from({ length: count }, () => admission.submit({ ...SUBMITTER, tenant }, body));
    const ids = (await Promise.all(jobs)).map(({ id }) => id);
    for (const id of ids) tenantOf.set(id, tenant);
    return ids;
  };
  return { admission, backlog, attestor, keys, admin: server.client(), submit, tenantOf };
}
type House = ReturnType<typeof house>;

/**
 * Serves so many with a worker of BullMQ itself, one at a time, and not one more; the order in which they
 * were served. What it takes is as good as claimed and committed.
 */
async function serve(server: TestRedis, { admin, backlog, keys }: House, count: number): Promise<string[]> {
  const served: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const worker = new Worker<Delivery>(
      QUEUE,
      async ({ data: { jobs } }) => {
        const [id = ''] = jobs;
        served.push(id);
        if (served.length === count) void worker.close().then(resolve, reject);
        await admin.zrem(keys.released(QUEUE), id);
        await backlog.release([QUEUE]);
        return null;
      },
      {
        connection: redisOptions(server.access('worker.default'), 'patient'),
        prefix: keys.poolQueues('default'),
        concurrency: 1,
      },
    );
  });
  expect(served).toHaveLength(count);
  return served;
}

const countBy = (names: (string | undefined)[]) => {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name ?? '', (counts.get(name ?? '') ?? 0) + 1);
  return counts;
};

/** The ids that BullMQ holds for workers, the next one last. */
const delivered = (redis: Redis, { keys }: TestRedis) =>
  redis.lrange(`${keys.poolQueues('default')}:${QUEUE}:wait`, 0, -1);

/** All keys but the pace, which each release measures. */
const everything = async ({ admin: redis, keys }: House): Promise<Record<string, unknown>> => {
  const names = (await redis.keys('*')).filter((name) => name !== keys.pace(QUEUE)).toSorted();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, JSON.stringify(await redis.dumpBuffer(name))] as const)),
  );
};

test('a job is dated by the clock of Redis, whatever the clock of its API says', async () => {
  await using server = await TestRedis.start();
  const trueMs = Date.now();
  const clock = jest.spyOn(Date, 'now');
  for (const wrongByMs of [3_600_000, -3_600_000]) {
    clock.mockReturnValue(trueMs + wrongByMs);
    const { fresh } = await admissionTo(server).submit(SUBMITTER, parse(SubmitJob, completion('x')));
    expect(Math.abs((fresh?.createdMs ?? 0) - trueMs)).toBeLessThan(600_000);
  }
  clock.mockRestore();
});

describe('fair shares', () => {
  test('a tenant that comes after a flood of 1,000 is served beside it and not behind it', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const flood = await all.submit('flood', 1_000);
    const late = await all.submit('late', 10);
    const served = await serve(server, all, 200);
    // One for one from the present on, behind what was released: its k-th comes after about k of the flood.
    for (const [k, id] of late.entries()) expect(served.indexOf(id)).toBeLessThanOrEqual(FLOOR + 2 * k + 2);
    expect(served.filter((id) => all.tenantOf.get(id) === 'flood')).toEqual(flood.slice(0, 190));
  });

  wholeTest('under a flood of 1000 to 1, ten tenants are served alike: Jain index at least 0.98', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await all.submit('t0', 2_000);
    for (let tenant = 1; tenant < 10; tenant += 1) await all.submit(`t${tenant}`, 50);
    // While all ten have something to do, and what was released before the others came is served.
    const served = (await serve(server, all, 400 + FLOOR)).slice(FLOOR);
    const shares = [...countBy(served.map((id) => all.tenantOf.get(id))).values()];
    expect(shares).toHaveLength(10);
    const sum = shares.reduce((a, b) => a + b);
    const squares = shares.reduce((a, b) => a + b * b, 0);
    expect((sum * sum) / (10 * squares)).toBeGreaterThanOrEqual(0.98);
  });

  wholeTest('shares are by cost: ten cheap jobs are served for each dear one', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await all.submit('dear', FLOOR + 50, 10);
    await all.submit('cheap', 400);
    const served = (await serve(server, all, FLOOR + 330)).slice(FLOOR);
    const counts = countBy(served.map((id) => all.tenantOf.get(id)));
    expect(counts.get('dear')).toBeGreaterThanOrEqual(28);
    expect(counts.get('dear')).toBeLessThanOrEqual(32);
  });

  test('who had the queue alone owes nothing once it was empty', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await all.submit('early', 300);
    await serve(server, all, 300);
    await all.submit('other', 40);
    await all.submit('early', 40);
    const served = await serve(server, all, 60);
    const counts = countBy(served.slice(FLOOR).map((id) => all.tenantOf.get(id)));
    expect(counts.get('early')).toBeGreaterThanOrEqual(20);
  });

  test('what a tenant sends is remembered for as long as the predictions think, by what jobs take', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { keys, admin } = all;
    for (const tookMs of [0, 50, 10_000, 1e9]) {
      await admin.hset(keys.pace(QUEUE), 'took', tookMs);
      const tenant = `took-${tookMs}`;
      const [id = ''] = await all.submit(tenant, 1);
      const cost = Number(await admin.hget(keys.job(id), 'charge'));
      const rate = Number((await admin.hget(keys.fairShares(QUEUE), tenant))?.split(' ')[2]);
      expect((rate * memoryOfRates(tookMs)) / (cost * 1_000)).toBeCloseTo(1, 2);
    }
  });

  test('a job that is queued again stands before all that its tenant has waiting, and its tenant pays for it', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { keys, attestor, admin } = all;
    const [first = ''] = await all.submit('a', FLOOR + 30);
    await all.submit('b', 30);
    const worker = new HandWorker(server.client('worker.default'), keys, newKey());
    await worker.claim(first);
    const finish = async () => Number((await admin.hget(keys.fairShares(QUEUE), 'a'))?.split(' ')[0]);
    const owed = await finish();
    const charge = Number(await admin.hget(keys.job(first), 'charge'));
    expect(charge).toBeGreaterThan(0);
    // The floor is full: what is queued again stays in the backlog, where it can be seen.
    await admin.zadd(keys.leases(QUEUE), 9e15, 'full');
    const ruling = { id: first, epoch: 1, phases: ['running'], code: 'test', detail: '' } as const;
    const replies = await new Rulings(attestor, keys, all.backlog).apply([
      { ...ruling, action: { kind: 'close', why: 'released' } },
    ]);
    expect(replies).toEqual([{ kind: 'requeued' }]);
    const order = await admin.zrange(keys.backlog(QUEUE), '0', '-1');
    expect(order[0]).toBe(first);
    expect(await finish()).toBeCloseTo(owed + charge);
    expect(await admin.zscore(keys.released(QUEUE), first)).toBeNull();
  });
});

describe('release', () => {
  test('a job that is admitted while there is room is with BullMQ before it is answered', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const [id] = await all.submit('a', 1);
    expect(await delivered(all.admin, server)).toEqual([id]);
    expect(await all.admin.exists(all.keys.backlog(QUEUE))).toBe(0);
  });

  test('BullMQ gets what the slots and the margin hold, and no more, whatever waits', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await all.submit('a', 300);
    expect(await delivered(all.admin, server)).toHaveLength(FLOOR);
    await all.admin.hset(all.keys.pace(QUEUE), 'slots', 40, 'rate', 0, 'since', Date.now(), 'count', 0);
    await all.backlog.release([QUEUE]);
    expect(await delivered(all.admin, server)).toHaveLength(80);
    await all.backlog.release([QUEUE]);
    expect(await all.admin.zcard(all.keys.released(QUEUE))).toBe(80);
    expect(await all.admin.zcard(all.keys.backlog(QUEUE))).toBe(220);
  });

  test('what is released in a moment is the margin, where that is more than the slots', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await all.submit('a', 300);
    await all.admin.hset(all.keys.pace(QUEUE), 'slots', 4, 'rate', 1_000, 'since', Date.now() + 60_000, 'count', 0);
    await all.backlog.release([QUEUE]);
    expect(await all.admin.zcard(all.keys.released(QUEUE))).toBe(204);
  });

  describe('of short jobs', () => {
    /** The deliveries that BullMQ holds for workers, the next one first. */
    const deliveries = async ({ admin, keys }: House) => {
      const base = `${keys.poolQueues('default')}:${QUEUE}:`;
      const names = (await admin.lrange(`${base}wait`, 0, -1)).toReversed();
      const found = await Promise.all(names.map((name) => admin.hget(base + name, 'data')));
      return found.map((data) => (JSON.parse(data ?? '{}') as Delivery).jobs);
    };
    const short = async (all: House, slots: number, took: number) => {
      await all.admin.zadd(all.keys.leases(QUEUE), ...Array.from({ length: FLOOR }, (_, n) => [9e15, `x${n}`]).flat());
      return async () => {
        await all.admin.del(all.keys.leases(QUEUE));
        const pace = { slots, took, rate: 2_000, since: Date.now() + 60_000, count: 0 };
        await all.admin.hset(all.keys.pace(QUEUE), pace);
        await all.backlog.release([QUEUE]);
      };
    };

    test('a job with one attempt, and one that has had one, go by themselves', async () => {
      await using server = await TestRedis.start();
      const all = house(server);
      const begin = await short(all, 2, 3);
      const ids = await all.submit('a', 64);
      const [once = '', again = ''] = ids;
      await all.admin.hset(all.keys.job(once), 'attempts', '1');
      await all.admin.hset(all.keys.ruling(again), 'requeued', '1');
      await begin();
      const packs = await deliveries(all);
      expect(packs.length).toBeLessThan(40);
      for (const name of [once, `${again}-1`]) expect(packs).toContainEqual([name]);
    });

    test('go in packs of one tenant, never so large that a place stands idle', async () => {
      await using server = await TestRedis.start();
      const all = house(server);
      const begin = await short(all, 8, 3);
      const ids = [...(await all.submit('a', 100)), ...(await all.submit('b', 100))];
      await begin();
      const packs = await deliveries(all);
      expect(packs.flat().toSorted()).toEqual(ids.toSorted());
      // As many deliveries as there are places and half as many again, at the least.
      expect(packs.length).toBeGreaterThanOrEqual(12);
      for (const pack of packs) {
        expect(pack.length).toBeLessThanOrEqual(16);
        expect(new Set(pack.map((id) => all.tenantOf.get(id))).size).toBe(1);
      }
      // Neither tenant's first job stands behind more than one pack of the other.
      expect(new Set(packs.slice(0, 2).map(([id = '']) => all.tenantOf.get(id))).size).toBe(2);
    });

    test.each([
      ['places for all of them', 200, 3],
      ['a job that takes as long as a pack may', 8, 50],
    ])('are no packs where there are %s', async (_, slots, took) => {
      await using server = await TestRedis.start();
      const all = house(server);
      const begin = await short(all, slots, took);
      await all.submit('a', 150);
      await begin();
      for (const pack of await deliveries(all)) expect(pack).toHaveLength(1);
    });

    test('a pack that BullMQ has lost is delivered again, job by job, and what it has is not', async () => {
      await using server = await TestRedis.start();
      const all = house(server);
      const begin = await short(all, 2, 3);
      const ids = await all.submit('a', 64);
      await begin();
      const released = ids.map((id) => ({ id, afterEpoch: 0 }));
      expect(await all.backlog.redeliver(QUEUE, released)).toBe(0);
      const lost = (await deliveries(all)).find((pack) => pack.length > 1) ?? [];
      const base = `${all.keys.poolQueues('default')}:${QUEUE}:`;
      await all.admin.lrem(`${base}wait`, 0, lost[0] ?? '');
      expect(await all.backlog.redeliver(QUEUE, released)).toBe(lost.length);
      expect((await deliveries(all)).flat().toSorted()).toEqual(ids.toSorted());
      expect(await all.backlog.redeliver(QUEUE, released)).toBe(0);
    });
  });

  test('deliveries that come back to workers who may not take them hold up no other job', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const ids = await all.submit('a', FLOOR + 5);
    const worker = server.client('worker.default');
    const base = `${all.keys.poolQueues('default')}:${QUEUE}:`;
    for (const id of ids.slice(0, FLOOR)) await worker.zadd(`${base}delayed`, (Date.now() + 500) * 4096, id);
    await all.backlog.release([QUEUE]);
    expect((await delivered(all.admin, server)).filter((id) => ids.indexOf(id) >= FLOOR)).toHaveLength(5);
  });

  test('of many who release at once, none releases a job twice', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await all.submit('a', 400);
    const waiting = await all.admin.zrange(all.keys.backlog(QUEUE), '0', '-1');
    await all.admin.hset(all.keys.pace(QUEUE), 'slots', 1_000);
    const taken = await Promise.all(Array.from({ length: 8 }, () => all.backlog.take([QUEUE])));
    const ids = taken.flatMap((one) => (one.get(QUEUE) ?? []).flatMap((jobs) => jobs.map(({ id }) => id)));
    expect(ids.toSorted()).toEqual(waiting.toSorted());
  });

  test('a job that was admitted by a process that died right then is released by another', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    // No room, so that its own process does not release it.
    await all.admin.zadd(
      all.keys.leases(QUEUE),
      ...Array.from({ length: FLOOR }, (_, n) => [9e15, `full ${n}`]).flat(),
    );
    const [id] = await all.submit('a', 1);
    expect(await delivered(all.admin, server)).toEqual([]);
    await all.admin.del(all.keys.leases(QUEUE));
    const other = backlogOf(server.client('api'), all.keys);
    await other.release([QUEUE]);
    expect(await delivered(all.admin, server)).toEqual([id]);
  });

  test('a queue whose every key is of another type stops neither admission nor release', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const worker = server.client('worker.default');
    const base = `${all.keys.poolQueues('default')}:${QUEUE}:`;
    for (const part of ['wait', 'delayed', 'prioritized', 'meta', 'marker', 'active', 'events'])
      await worker.set(base + part, 'garbage');
    expect(await all.submit('a', FLOOR + 3)).toHaveLength(FLOOR + 3);
    expect(await all.admin.zcard(all.keys.released(QUEUE))).toBe(FLOOR);
    expect(await all.admin.zcard(all.keys.backlog(QUEUE))).toBe(3);
  });
});

describe('a pool that is full', () => {
  /** Two slots, and a second for each job, learned from a hundred. */
  const fill = async ({ admin, keys }: House): Promise<void> => {
    await keepLearned({ redis: admin, keys }, QUEUE, DEFAULT_HINT, (times) => {
      const size = { task: 'completion', maxTokens: 63, inputBytes: 14 } as const;
      for (let at = 0; at < 100; at += 1)
        times.learn({ size, flow: 'x', tookMs: 1_000, cost: times.costOf(size, 'x'), afterMs: 1, atMs: 0 });
    });
    await admin.hset(keys.pace(QUEUE), 'slots', 2);
    await admin.zadd(keys.leases(QUEUE), 9e15, 'one', 9e15, 'other');
  };
  const body = (deadlineMs: number) =>
    parse(SubmitJob, completion('x', { deadline_ms: deadlineMs, params: { max_tokens: 63 } }));
  /** Limits of every kind that are never reached. */
  const limits = { tokens_per_minute: 1e9, requests_per_day: 1e9, tokens: 1e12, spend: 1e12, concurrent_jobs: 1e6 };
  /** Submits one request, and returns why it was refused, or undefined. */
  const ask = async (
    { admission }: House,
    tenant: string,
    deadlineMs: number,
    jobs = 1,
  ): Promise<CodedError | undefined> => {
    const bodies = Array.from({ length: jobs }, () => body(deadlineMs));
    const submitter = { ...SUBMITTER, tenant, limits: { tenant: limits, key: limits } };
    const error: unknown = await admission.submitAll(submitter, bodies).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (error === undefined || error instanceof CodedError) return error;
    throw new Error('it failed otherwise', { cause: error });
  };
  /** Submits one request after the other until one is refused, and returns that refusal. */
  const refusal = async (...asked: Parameters<typeof ask>): Promise<CodedError> => {
    for (let at = 0; at < 5_000; at += 1) {
      const error = await ask(...asked);
      if (error !== undefined) return error;
    }
    throw new Error('nothing was refused');
  };
  test('refuses what cannot end in time, with the reason and an appointment, and keeps nothing of it', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    const first = await refusal(all, 'greedy', 20_000);
    expect(first.code).toBe('share_exceeded');
    expect(first.status).toBe(429);
    // Time goes by meanwhile, so that there may be room for a few more.
    const [before, again] = await until(async () => {
      const known = await everything(all);
      const error = await ask(all, 'greedy', 20_000);
      return error && ([known, error] as const);
    });
    expect(await everything(all)).toEqual(before);
    expect(again.headers).toMatchObject({ 'countersign-reason': 'share_exceeded' });
    expect(Number(again.headers['retry-after-ms'])).toBeGreaterThan(Number(first.headers['retry-after-ms']));
    expect(Date.parse(again.headers['countersign-predicted-end'] ?? '')).toBeGreaterThan(Date.now());
  });

  test('refuses a request of several jobs whole, where only the first of them have a place', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    const error = await refusal(all, 'greedy', 20_000, 7);
    expect(error.code).toBe('share_exceeded');
    expect((await all.admin.zcard(all.keys.openOf('greedy'))) % 7).toBe(0);
    // A place is left for one job, which the refused request has not taken.
    const before = await all.admin.zcard(all.keys.openOf('greedy'));
    await refusal(all, 'greedy', 20_000);
    expect(await all.admin.zcard(all.keys.openOf('greedy'))).toBeGreaterThan(before);
  });

  test('takes who is within its share beside a flood that is refused, and says what it told', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    await refusal(all, 'greedy', 60_000);
    const { id, outlook } = await all.admission.submit({ ...SUBMITTER, tenant: 'quiet' }, body(60_000));
    expect(outlook?.place.distance).toBe(0);
    expect(toldIn((await all.admin.hget(all.keys.job(id), 'told')) ?? '')?.told.endMs).toBeGreaterThan(0);
  });

  test('takes who wanted more than its share a moment ago for the same as before, and who did not for new', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    const sinceOf = async (tenant: string) =>
      Number((await all.admin.hget(all.keys.fairShares(QUEUE), tenant))?.split(' ')[1]);
    // Neither has anything waiting. The one went beyond its share long after now, the other long before.
    await all.admin.hset(all.keys.fairShares(QUEUE), 'greedy', '0 77 0 0 1 0 9000000000000', 'new', '0 77 0 0 1 0 1');
    for (const tenant of ['greedy', 'new']) await all.submit(tenant, 1);
    expect(await sinceOf('greedy')).toBe(77);
    expect(await sinceOf('new')).toBeGreaterThan(77);
    // What was kept before there were breaks is read as ever.
    await all.admin.hset(all.keys.fairShares(QUEUE), 'older', '0 77 0 0 3 0');
    await all.submit('older', 1);
    expect(await sinceOf('older')).toBeGreaterThan(77);
  });

  test('tells each waiting job how many are to end before it, and a new one the place that it gets', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    const ids = await all.submit('a', 5);
    const api = server.client('api');
    const outlooks = new Outlooks(api, all.keys, 0.99);
    const prospects = new Prospects(api, all.keys, new Catalog([CatalogModel.parse(NOOP_MODEL)]), outlooks);
    const reader = new JobReader(api, all.keys, all.keys.open);
    const views = (await Promise.all(ids.map((id) => reader.read(id)))).flatMap((view) => view ?? []);
    const found = (await Promise.all(views.map((view) => prospects.of(view)))).toSorted(
      (a, b) => (a?.position ?? 0) - (b?.position ?? 0),
    );
    // Two run on two places. What was given to workers together is in no order.
    expect(found.map((one) => one?.position)).toEqual([1, 2, 3, 4, 5]);
    const ends = found.map((one) => one?.eta?.p90Ms ?? 0);
    expect(ends).toEqual(ends.toSorted((a, b) => a - b));
    const [held] = views;
    if (held === undefined) throw new Error('The job is gone.');
    const why = whyOf(held, found[0], ALONE);
    expect(why).toMatchObject({ held_by: 'slots', numbers: { to_end_first: 1, slots: 2 } });

    const size = { task: 'completion', maxTokens: 63, inputBytes: 14 } as const;
    const asked = { size, flow: 'a', band: 'standard', timeMs: 60_000 } as const;
    const foreseen = await prospects.ofNew(CatalogModel.parse(NOOP_MODEL), asked);
    const { outlook } = await all.admission.submit({ ...SUBMITTER, tenant: 'a' }, body(60_000));
    expect(foreseen?.position).toBe(6);
    expect(outlook?.place.ends).toBe(6);
  });

  test('refuses a job that is not to begin yet where even then it would begin too late, without a trace', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    await refusal(all, 'greedy', 20_000);
    const before = await everything(all);
    const times = { not_before: new Date(Date.now() + 1_000).toISOString(), deadline_ms: 10_000, priority: -10 };
    const soon = parse(SubmitJob, completion('x', { ...times, params: { max_tokens: 63 } }));
    await expect(all.admission.submit({ ...SUBMITTER, tenant: 'greedy' }, soon)).rejects.toMatchObject({
      code: 'share_exceeded',
    });
    await expect(
      all.admission.submit(
        SUBMITTER,
        parse(
          SubmitJob,
          completion('x', { not_before: new Date(Date.now() + 9_500).toISOString(), deadline_ms: 10_000 }),
        ),
      ),
    ).rejects.toMatchObject({ code: 'request_invalid', param: 'not_before' });
    expect(await everything(all)).toEqual(before);
    const patient = parse(SubmitJob, completion('x', { not_before: new Date(Date.now() + 3_600_000).toISOString() }));
    await all.admission.submit({ ...SUBMITTER, tenant: 'greedy' }, patient);
  });

  test('refuses even who is within its share where nobody can be served in that time', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    await refusal(all, 'greedy', 86_400_000 / 1_000);
    const error = await refusal(all, 'hasty', 1_000);
    expect(error.code).toBe('deadline_unreachable');
    expect(error.status).toBe(503);
  });

  test('takes patient work all the same, and where nobody works, everything', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    await fill(all);
    await refusal(all, 'greedy', 20_000);
    expect(await all.submit('greedy', 30)).toHaveLength(30);
    await all.admin.hset(all.keys.pace(QUEUE), 'slots', 0);
    const other = house(server);
    expect(await other.submit('greedy', 30)).toHaveLength(30);
  });
});

describe('who goes first within a tenant', () => {
  interface Drawn {
    readonly flow: string;
    readonly priority: number;
    readonly minutes: number;
    readonly cost: number;
  }
  const drawn = (flows: number) =>
    fc.record({
      flow: fc.nat(flows - 1).map(String),
      priority: fc.constantFrom(0, 0, 0, -10, 3),
      minutes: fc.integer({ min: 1, max: 8 }),
      cost: fc.constantFrom(1, 1, 2, 7, 30),
    });
  const bodyOf = ({ priority, minutes, cost }: Drawn) =>
    parse(
      SubmitJob,
      completion('x', { priority, deadline_ms: minutes * 60_000, params: { max_tokens: 64 * cost - 1 } }),
    );
  /** What Redis has of a job: its flow, what it costs that, and its rank. */
  const factsOf = async ({ admin, keys }: House, id: string) => {
    const [flow, charge, rank] = await admin.hmget(keys.job(id), 'tenant', 'charge', 'rank');
    return { id, flow: flow ?? '', charge: Number(charge), rank: Number(rank) };
  };
  type Facts = Awaited<ReturnType<typeof factsOf>>;
  /** Takes what there is room for, and makes room again. */
  const taken = async ({ backlog, admin, keys }: House, at = FLOOR): Promise<string[]> => {
    const held = Array.from({ length: FLOOR - at }, (_, n) => `held${n}`);
    for (const id of held) await admin.zadd(keys.leases(QUEUE), 9e15, id);
    const ids = [...(await backlog.take([QUEUE])).values()].flat(2).map(({ id }) => id);
    if (held.length > 0) await admin.zrem(keys.leases(QUEUE), ...held);
    if (ids.length > 0) await admin.zrem(keys.released(QUEUE), ...ids);
    return ids;
  };
  const pause = async ({ admin, keys }: House, isPaused: boolean) =>
    isPaused ? admin.hset(keys.poolStates, 'default', 'paused 1 test') : admin.hdel(keys.poolStates, 'default');
  /** Ranks that are less apart count as one. */
  const ALIKE_MS = 500;

  test('goes by priority, then by deadline, and each tenant is served when its tags in that order say, and not sooner', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(drawn(3), { minLength: 2, maxLength: 30 }),
        fc.integer({ min: 1, max: FLOOR }),
        async (jobs, at) => {
          runs += 1;
          await pause(all, true);
          const facts = new Map<string, Facts>();
          for (const job of jobs) {
            const { id } = await all.admission.submit({ ...SUBMITTER, tenant: `${runs}.${job.flow}` }, bodyOf(job));
            facts.set(id, await factsOf(all, id));
          }
          await pause(all, false);
          const order: Facts[] = [];
          for (let ids = await taken(all, at); ids.length > 0; ids = await taken(all, at))
            for (const id of ids) order.push(facts.get(id) ?? { id, flow: '', charge: 0, rank: 0 });
          expect(order.map(({ id }) => id).toSorted()).toEqual([...facts.keys()].toSorted());
          // The model: start-time fair queueing in which each flow has its jobs in the order of their ranks.
          const next = new Map<string, { tag: number; rank: number }>();
          let present = 0;
          for (const { flow, charge, rank } of order) {
            const { tag, rank: before } = next.get(flow) ?? { tag: 1, rank: 0 };
            expect(rank).toBeGreaterThanOrEqual(before - ALIKE_MS);
            expect(tag).toBeGreaterThanOrEqual(present * (1 - 1e-9));
            present = tag;
            next.set(flow, { tag: tag + charge, rank });
          }
          for (const set of [all.keys.outOfTurn(QUEUE), all.keys.turnDebts(QUEUE)])
            expect(await all.admin.exists(set)).toBe(0);
        },
      ),
      { numRuns: IS_LONG ? 300 : 15 },
    );
  });

  test('holds while jobs come, go and are cancelled, and no tenant is served beyond its share', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { admin, keys } = all;
    const rulings = new Rulings(all.attestor, keys, all.backlog);
    const step = fc.oneof(
      { weight: 5, arbitrary: drawn(2).map((job) => ({ ...job, kind: 'submit' as const })) },
      { weight: 3, arbitrary: fc.constant({ kind: 'take' as const }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat() }) },
    );
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        runs += 1;
        // Both have something to do throughout: what they are given is compared.
        const waiting = new Map<string, Facts>();
        const served = new Map<string, number>();
        let [dearest, cancelled] = [0, 0];
        const add = async (job: Drawn) => {
          const { id } = await all.admission.submit({ ...SUBMITTER, tenant: `${runs}-${job.flow}` }, bodyOf(job));
          const facts = await factsOf(all, id);
          waiting.set(id, facts);
          dearest = Math.max(dearest, facts.charge);
        };
        const takeOne = async () => {
          await pause(all, false);
          const [id = ''] = await taken(all, 1);
          await pause(all, true);
          const job = waiting.get(id);
          if (job === undefined) throw new Error('something else was taken');
          waiting.delete(id);
          for (const other of waiting.values())
            if (other.flow === job.flow) expect(job.rank).toBeLessThanOrEqual(other.rank + ALIKE_MS);
          served.set(job.flow, (served.get(job.flow) ?? 0) + job.charge);
          const [one = 0, two = 0] = ['0', '1'].map((flow) => served.get(`${runs}-${flow}`) ?? 0);
          const flows = new Set([...waiting.values()].map(({ flow }) => flow));
          // What was cancelled leaves a gap in the turns of its tenant alone.
          if (flows.size === 2) expect(Math.abs(one - two)).toBeLessThanOrEqual(2 * dearest + cancelled);
        };
        await pause(all, true);
        for (const flow of ['0', '1'])
          for (let at = 0; at < 40; at += 1) await add({ flow, priority: -10, minutes: 9, cost: 7 });
        for (const one of steps) {
          if (one.kind === 'submit') await add(one);
          else if (one.kind === 'take') await takeOne();
          else {
            const job = [...waiting.values()].at(one.which % waiting.size);
            if (job === undefined) throw new Error('nothing waits');
            await rulings.apply([cancellation({ id: job.id, epoch: 0, isPoolEmptied: false })]);
            waiting.delete(job.id);
            cancelled += job.charge;
          }
        }
        await pause(all, true);
        await admin.del(keys.backlog(QUEUE), keys.outOfTurn(QUEUE), keys.turnDebts(QUEUE));
      }),
      { numRuns: IS_LONG ? 60 : 4 },
    );
  });
});

describe('a job that is not to begin yet', () => {
  const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
  const bodyAt = (not_before: string) => parse(SubmitJob, completion('x', { not_before }));
  /** Moves the time of jobs, of which Redis alone knows, to the past. */
  const comes = async ({ admin, keys }: House, ids: readonly string[]) => {
    for (const [at, id] of ids.entries()) {
      await admin.zadd(keys.later(QUEUE), 'XX', at + 1, id);
      await admin.hset(keys.job(id), 'notbefore', at + 1);
    }
  };

  test('has no turn and is told no place until its time has come by the clock of Redis', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { admin, keys } = all;
    await admin.hset(keys.pace(QUEUE), 'slots', 2);
    const { id, outlook } = await all.admission.submit(SUBMITTER, bodyAt(inMs(2_500)));
    expect(outlook).toBeUndefined();
    const reader = new JobReader(server.client('api'), keys, keys.open);
    const view = await reader.read(id);
    const notBeforeMs = view?.notBeforeMs;
    if (view === undefined || notBeforeMs === undefined) throw new Error('The time was not kept.');
    const api = server.client('api');
    const catalog = new Catalog([CatalogModel.parse(NOOP_MODEL)]);
    const prospect = await new Prospects(api, keys, catalog, new Outlooks(api, keys, 0.99)).of(view);
    expect(prospect).toMatchObject({ position: undefined, spot: { set: 'later' } });
    expect(prospect?.eta?.p50Ms).toBeGreaterThanOrEqual(notBeforeMs);
    expect(whyOf(view, prospect, ALONE).held_by).toBe('not_before');
    const clock = async () => {
      const [seconds, micros] = await admin.time();
      return Number(seconds) * 1_000 + Number(micros) / 1_000;
    };
    for (let isDelivered = false; !isDelivered;) {
      const beforeMs = await clock();
      await all.backlog.arrive([QUEUE]);
      await all.backlog.release([QUEUE]);
      isDelivered = (await delivered(admin, server)).includes(id);
      // Not before its time, and at the first look after it.
      if (isDelivered) expect(await clock()).toBeGreaterThanOrEqual(notBeforeMs);
      else expect(beforeMs).toBeLessThan(notBeforeMs + 1);
    }
    expect(await admin.zcard(keys.later(QUEUE))).toBe(0);
  });

  test('passes nobody when its time comes: it takes the turn that its flow has then, and is charged then', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { admin, keys } = all;
    const later: string[] = [];
    for (const tenant of ['a', 'a', 'b'])
      later.push((await all.admission.submit({ ...SUBMITTER, tenant }, bodyAt(inMs(60_000)))).id);
    const [first = '', second = '', other = ''] = later;
    // Nothing was charged yet: a busy period begins with those that may begin.
    const now = await all.submit('a', FLOOR + 30);
    await all.backlog.arrive([QUEUE]);
    expect(await admin.zcard(keys.later(QUEUE))).toBe(3);
    await comes(all, later);
    await all.backlog.arrive([QUEUE]);
    const order = await admin.zrange(keys.backlog(QUEUE), '0', '-1');
    expect(order.indexOf(other)).toBeLessThanOrEqual(1);
    expect(order.slice(-2)).toEqual([first, second]);
    // Each is charged: the next one of the flow stands behind both.
    const [next = ''] = await all.submit('a', 1);
    expect((await admin.zrange(keys.backlog(QUEUE), '-1', '-1'))[0]).toBe(next);
    expect(now).toHaveLength(FLOOR + 30);
    expect((await everything(all))[keys.later(QUEUE)]).toBeUndefined();
  });

  test('leaves its set when it ends, and what is left there of a job that is gone comes to nothing', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { admin, keys } = all;
    const { id } = await all.admission.submit(SUBMITTER, bodyAt(inMs(60_000)));
    const rulings = new Rulings(all.attestor, keys, all.backlog);
    expect((await rulings.apply([cancellation({ id, epoch: 0, isPoolEmptied: false })])).length).toBe(1);
    expect(await admin.zcard(keys.later(QUEUE))).toBe(0);
    await admin.zadd(keys.later(QUEUE), 1, id, 1, 'job_that_never_was');
    await all.backlog.arrive([QUEUE]);
    expect([await admin.zcard(keys.later(QUEUE)), await admin.zcard(keys.backlog(QUEUE))]).toEqual([0, 0]);
  });
});

describe('what the operator makes of a pool', () => {
  const catalog = new Catalog([CatalogModel.parse(NOOP_MODEL)]);
  const poolsOf = (server: TestRedis) => {
    const redis = server.client('api');
    const audit = new AuditLog(redis, server.keys);
    const pools = new Pools(redis, server.keys, catalog, audit);
    const acts = async () => {
      const { entries } = await audit.list(new AuditFiles(new FolderTree(server.folder)), { limit: 100 });
      return entries.map(({ action, by }) => `${action} by ${by}`).toReversed();
    };
    const emptier = () =>
      new PoolEmptier({ redis, keys: server.keys, pools, names: catalog.pools() }, createLogger('test', 'error'));
    return { pools, acts, emptier };
  };
  const counts = ({ admin, keys }: House) =>
    Promise.all([keys.backlog(QUEUE), keys.released(QUEUE)].map((set) => admin.zcard(set)));

  test('paused, it takes jobs and gives none to workers, tells no end, and says why', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { pools, acts } = poolsOf(server);
    const [before = ''] = await all.submit('a', 1);
    await all.admin.hset(all.keys.pace(QUEUE), 'slots', 8);
    expect(await pools.put('key-1', 'default', 'paused')).toMatchObject({ state: 'paused', by: 'key-1', waiting: 1 });
    const { sinceMs } = await pools.put('key-2', 'default', 'paused');
    expect(await pools.get('default')).toMatchObject({ by: 'key-1', sinceMs });

    const outlooks = new Outlooks(server.client('api'), all.keys, 0.99);
    const asked = {
      size: { task: 'completion', maxTokens: 63, inputBytes: 14 },
      flow: 'a',
      band: 'standard',
      timeMs: 60_000,
    } as const;
    const prospects = new Prospects(server.client('api'), all.keys, catalog, outlooks);
    expect(await prospects.ofNew(CatalogModel.parse(NOOP_MODEL), asked)).toBeUndefined();
    const [id = ''] = await all.submit('a', 5);
    for (const releasing of [all.backlog, backlogOf(server.client('api'), all.keys)]) await releasing.release([QUEUE]);
    expect(await delivered(all.admin, server)).toEqual([before]);
    expect(await counts(all)).toEqual([5, 1]);
    const view = await new JobReader(server.client('api'), all.keys, all.keys.open).read(id);
    if (view === undefined) throw new Error('The job is gone.');
    const prospect = await prospects.of(view);
    expect(prospect).toMatchObject({ position: undefined, eta: undefined });
    expect(whyOf(view, prospect, ALONE).held_by).toBe('paused_pool');

    expect(await pools.put('key-2', 'default', 'open')).toMatchObject({ state: 'open', by: undefined });
    await all.backlog.release([QUEUE]);
    expect(await counts(all)).toEqual([0, 6]);
    expect(await acts()).toEqual(['pool.pause by key-1', 'pool.resume by key-2']);
    await expect(pools.put('key-2', 'other', 'paused')).rejects.toMatchObject({ code: 'pool_not_found', status: 404 });
  });

  test('drained, it refuses new jobs without a trace, knows those it has, and works on what waits', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { pools } = poolsOf(server);
    const ids = await all.submit('a', FLOOR + 4);
    const body = parse(SubmitJob, completion('x'));
    const once = { idempotencyKey: 'once' };
    const known = await all.admission.submit(SUBMITTER, body, once);
    await pools.put('key', 'default', 'draining');
    const before = await everything(all);
    await expect(all.submit('a', 1)).rejects.toMatchObject({ code: 'pool_draining', status: 503 });
    expect(await everything(all)).toEqual(before);
    expect((await all.admission.submit(SUBMITTER, body, once)).id).toBe(known.id);
    await all.admin.zrem(all.keys.released(QUEUE), ...ids.slice(0, FLOOR));
    await all.backlog.release([QUEUE]);
    expect(await counts(all)).toEqual([0, 5]);
    await pools.put('key', 'default', 'open');
    expect(await all.submit('a', 1)).toHaveLength(1);
  });

  test('emptied, all that waits ends as cancelled, in chunks that any courier goes on with', async () => {
    await using server = await TestRedis.start();
    const all = house(server);
    const { keys, admin, attestor } = all;
    const { pools, acts, emptier } = poolsOf(server);
    /** What an attestor does with what it is told. */
    const endCancelled = async () => {
      const told = await admin.xrange(keys.cancels, '-', '+');
      const ids = told.map(([, [, word = '']]) => ({ id: word.slice(2) }));
      const rulings = (await readCases(attestor, keys, ids)).flatMap((file) =>
        file?.cancelAskedMs === undefined ? [] : [cancellation(file)],
      );
      await new Rulings(attestor, keys, all.backlog).apply(rulings);
      await admin.del(keys.cancels);
    };
    const ids = await all.submit('a', 1_298);
    const early = parse(SubmitJob, completion('x', { not_before: new Date(Date.now() + 60_000).toISOString() }));
    for (let at = 0; at < 2; at += 1) ids.push((await all.admission.submit({ ...SUBMITTER, tenant: 'a' }, early)).id);
    const [runs = ''] = await admin.zrange(keys.released(QUEUE), '0', '0');
    await server.client('worker.default').hsetnx(keys.claims(runs), 'e1', 'w 1 x');
    const { emptying } = await pools.empty('key', 'default');
    expect(emptying).toMatchObject({ by: 'key', found: 1_300, cancelled: 0, endedMs: undefined });
    while (Date.now() <= (emptying?.askedMs ?? 0)) await new Promise((resolve) => setTimeout(resolve, 1));
    const later = await all.submit('b', 30);

    const words = [await emptier().step('default')];
    // About one chunk, and its courier is gone.
    const first = (await pools.get('default')).emptying?.cancelled ?? 0;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(600);
    const next = emptier();
    while (words.at(-1) !== 'over') {
      words.push(await next.step('default'));
      if (words.at(-1) === 'full' || words.at(-1) === 'again') await endCancelled();
    }
    // The attestor had a bounded number of wishes before it, and a whole pass met nothing at the end.
    expect(words).toEqual(expect.arrayContaining(['full', 'again']));
    expect((await pools.get('default')).emptying).toMatchObject({ cancelled: 1_299, endedMs: expect.any(Number) });
    expect(await next.step('default')).toBe('none');
    expect(await acts()).toEqual(['pool.empty by key', 'pool.emptied by courier']);

    const reader = new JobReader(server.client('api'), keys, keys.open);
    const ended = await Promise.all(ids.filter((id) => id !== runs).map((id) => reader.read(id)));
    for (const view of ended)
      expect(view).toMatchObject({
        state: 'cancelled',
        ending: { code: 'cancelled', detail: 'The operator has emptied its pool.' },
      });
    for (const id of [runs, ...later]) expect(await admin.hexists(keys.ticket(id), 'cancel')).toBe(0);
    expect((await counts(all)).reduce((sum, count) => sum + count)).toBe(31);
  });
});
