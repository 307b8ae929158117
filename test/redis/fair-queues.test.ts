import { Worker } from 'bullmq';
import { describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { FairQueues, type FairDelivery } from '../../src/ground/bull/fair-queues.ts';
import { openQueues } from '../support/queues.ts';
import { redisOptions } from '../../src/ground/redis/connection.ts';
import { TestRedis } from '../support/redis.ts';

interface Named {
  readonly id: string;
}

const QUEUE = 'default.noop';

function fairQueues(redis: Redis, { keys }: TestRedis): FairQueues<Named> {
  return new FairQueues(redis, keys, openQueues(redis, keys));
}

/** `count` deliveries of a tenant, named `<tenant>-<number>`. */
function jobsOf(tenant: string, count: number, cost = 1, from = 0): FairDelivery<Named>[] {
  return Array.from({ length: count }, (_, index) => {
    const name = `${tenant}-${from + index}`;
    return { name, data: { id: name }, tenant, cost };
  });
}

/**
 * Serves so many with a worker of BullMQ itself, one at a time, and not one more; the order in which they
 * were served.
 */
async function serve(server: TestRedis, count: number): Promise<string[]> {
  const served: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const worker = new Worker<Named>(
      QUEUE,
      (job) => {
        served.push(job.data.id);
        // One that closes takes nothing more from the queue.
        if (served.length === count) void worker.close().then(resolve, reject);
        return Promise.resolve(null);
      },
      {
        connection: redisOptions(server.access('worker.default'), 'patient'),
        prefix: server.keys.poolQueues('default'),
        concurrency: 1,
      },
    );
  });
  expect(served).toHaveLength(count);
  return served;
}

const tenantOf = (name: string) => name.split('-')[0] ?? '';
const countBy = (names: string[]) => {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(tenantOf(name), (counts.get(tenantOf(name)) ?? 0) + 1);
  return counts;
};

describe('fair queues', () => {
  test('a tenant that comes after a flood of 1,000 is served beside it and not behind it', async () => {
    await using server = await TestRedis.start();
    const queues = fairQueues(server.client('api'), server);
    await queues.add(QUEUE, jobsOf('flood', 1_000));
    await queues.add(QUEUE, jobsOf('late', 10));
    const served = await serve(server, 200);
    // One for one from the present on: its k-th job comes after about k of the flood.
    for (let k = 0; k < 10; k += 1) expect(served.indexOf(`late-${k}`)).toBeLessThanOrEqual(2 * k + 2);
    expect(served.filter((name) => tenantOf(name) === 'flood')).toEqual(jobsOf('flood', 190).map(({ name }) => name));
  });

  test('under a flood of 1000 to 1, ten tenants are served alike: Jain index at least 0.98', async () => {
    await using server = await TestRedis.start();
    const queues = fairQueues(server.client('api'), server);
    await queues.add(QUEUE, jobsOf('t0', 2_000));
    for (let tenant = 1; tenant < 10; tenant += 1) await queues.add(QUEUE, jobsOf(`t${tenant}`, 50));
    // While all ten have something to do.
    const shares = [...countBy(await serve(server, 400)).values()];
    expect(shares).toHaveLength(10);
    const sum = shares.reduce((a, b) => a + b);
    const squares = shares.reduce((a, b) => a + b * b, 0);
    expect((sum * sum) / (10 * squares)).toBeGreaterThanOrEqual(0.98);
  });

  test('shares are by cost: ten cheap jobs are served for each dear one', async () => {
    await using server = await TestRedis.start();
    const queues = fairQueues(server.client('api'), server);
    await queues.add(QUEUE, jobsOf('dear', 50, 10));
    await queues.add(QUEUE, jobsOf('cheap', 400));
    const counts = countBy(await serve(server, 330));
    expect(counts.get('dear')).toBeGreaterThanOrEqual(28);
    expect(counts.get('dear')).toBeLessThanOrEqual(32);
  });

  test('who had the queue alone owes nothing once it was empty', async () => {
    await using server = await TestRedis.start();
    const queues = fairQueues(server.client('api'), server);
    await queues.add(QUEUE, jobsOf('early', 300));
    await serve(server, 300);
    await queues.add(QUEUE, jobsOf('other', 20));
    await queues.add(QUEUE, jobsOf('early', 20, 1, 300));
    const counts = countBy(await serve(server, 20));
    expect(counts.get('early')).toBeGreaterThanOrEqual(9);
  });

  test('tags that near their end are moved back; order and shares stay', async () => {
    await using server = await TestRedis.start();
    const redis = server.client('api');
    const queues = fairQueues(redis, server);
    const waiting = `${server.keys.poolQueues('default')}:${QUEUE}:prioritized`;
    // Half of the range is used up by the first job; 1,500 more are more than one page.
    await queues.add(QUEUE, [...jobsOf('a', 1, 1_100_000), ...jobsOf('a', 1_500, 1, 1)]);
    expect(await serve(server, 1)).toEqual(['a-0']);
    await queues.add(QUEUE, jobsOf('b', 5));
    const [, score] = await redis.zrange(waiting, '0', '0', 'WITHSCORES');
    expect(Math.floor(Number(score) / 2 ** 32)).toBe(1);
    expect(Number(await redis.hget(server.keys.fairShares(QUEUE), 'a'))).toBeLessThan(2_000);
    const order = await redis.zrange(waiting, '0', '-1');
    expect(order).toHaveLength(1_505);
    expect(await serve(server, 20)).toEqual(order.slice(0, 20));
    for (let k = 0; k < 5; k += 1) expect(order.indexOf(`b-${k}`)).toBeLessThanOrEqual(2 * k + 2);
    const ofA = order.filter((name) => tenantOf(name) === 'a').map((name) => Number(name.slice(2)));
    expect(ofA).toEqual(ofA.toSorted((x, y) => x - y));
  });

  test('scores that a hostile worker wrote, endless ones too, stop nobody from adding', async () => {
    await using server = await TestRedis.start();
    const queues = fairQueues(server.client('api'), server);
    const hostile = server.client('worker.default');
    const waiting = `${server.keys.poolQueues('default')}:${QUEUE}:prioritized`;
    for (const score of ['-inf', '+inf', '-9e15', '9.1e307']) {
      await hostile.zadd(waiting, score, 'garbage');
      await queues.add(QUEUE, jobsOf('honest', 3, 1, Math.abs(Number.parseInt(score, 10) || 0)));
      await hostile.zrem(waiting, 'garbage');
    }
    const tags = await hostile.zrange(waiting, '0', '-1', 'WITHSCORES');
    expect(tags.filter((_, index) => index % 2 === 1).every((score) => Number.isFinite(Number(score)))).toBe(true);
  });
});
