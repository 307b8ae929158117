import { expect, test } from '@jest/globals';
import { PoolKeeper } from '../../src/core/confirmation/pool-keeper.ts';
import { Strays } from '../../src/core/confirmation/strays.ts';
import { newJobId } from '../../src/core/jobs/job-id.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { until } from '../support/pipeline.ts';
import { openQueues } from '../support/queues.ts';
import { TestRedis } from '../support/redis.ts';

test('what belongs to no job goes, of every family at once, and what belongs to one stays', async () => {
  await using server = await TestRedis.start();
  const [admin, { keys }] = [server.client(), server];
  // Of just now they are passed over for a while; of an hour that has not come yet, they are not.
  const [never = '', future = '', open = '', sealed = ''] = [-20_000, 3_600_000, -20_000, -20_000].map((ms) =>
    newJobId('default', Date.now() + ms),
  );
  const of = (id: string) => [
    keys.claims(id),
    keys.evidence(id),
    keys.ruling(id),
    keys.lease(id),
    keys.chunks(id),
    `${keys.poolQueues('default')}:default.noop:${id}`,
  ];
  await admin.hset(keys.ticket(open), 'ticket', 'of an open job');
  await admin.set(keys.record(sealed), 'of a job that has ended');
  // No name that a worker makes up comes out of Redis, however long it is.
  const huge = `${keys.lease(open)}${'x'.repeat(2_000_000)}`;
  await server.client('worker.default').set(huge, 'x');
  for (const key of [...of(never), ...of(future), ...of(open), ...of(sealed), keys.worker('default', 'w-1')])
    await admin.set(key, 'x');
  const strays = new Strays({
    redis: server.client('attestor'),
    keys,
    pools: ['default'],
    queues: () => ['default.noop'],
    logger: createLogger('test', 'fatal'),
  });
  const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1]);
  const before = await sent();
  strays.start();
  await until(async () => (await admin.exists(...of(never), ...of(future), keys.worker('default', 'w-1'))) === 0);
  await until(async () => (await admin.exists(huge)) === 0);
  expect((await sent()) - before).toBeLessThan(1_000_000);
  await strays.stop();
  expect(await admin.exists(...of(open))).toBe(of(open).length);
  // Its pieces can still be followed; what else a worker writes of it is nothing.
  expect(await admin.exists(keys.chunks(sealed))).toBe(1);
  expect(await admin.exists(...of(sealed))).toBe(1);
});

test("what a worker says of its queue's length or pace is put right: nothing fails those who deliver", async () => {
  await using server = await TestRedis.start();
  const [worker, { keys }] = [server.client('worker.default'), server];
  const [queue] = openQueues(server.client('api'), keys);
  const meta = `${keys.poolQueues('default')}:default.noop:meta`;
  const parts = {
    redis: server.client('attestor'),
    keys,
    pools: ['default'],
    queues: () => ['default.noop'],
    logger: createLogger('test', 'fatal'),
  };
  // A queue that is opened writes its own length once.
  await queue?.add('run', {}, { jobId: 'first' });
  await until(async () => (await worker.hget(meta, 'opts.maxLenEvents')) === '10');
  for (const length of ['garbage', '-1', '9'.repeat(30), '', '1e300', 'NaN']) {
    await worker.hset(meta, { 'opts.maxLenEvents': length, paused: '1', concurrency: '-1', max: 'x', duration: '0' });
    await expect(queue?.add('run', {}, { jobId: `before-${length}` })).rejects.toThrow();
    const keeper = new PoolKeeper(parts);
    keeper.start();
    await until(async () => (await worker.hget(meta, 'opts.maxLenEvents')) === '10');
    await keeper.stop();
    await queue?.add('run', {}, { jobId: `after-${length}` });
    expect(Object.keys(await worker.hgetall(meta))).not.toContain('paused');
  }
});
