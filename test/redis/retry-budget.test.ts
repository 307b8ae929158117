import { expect, test } from '@jest/globals';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { MOST_RETRIES, retriesEarned } from '../../src/core/backlog/retry-budget.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import { Outlooks } from '../../src/core/forecast/outlooks.ts';
import { Prospects } from '../../src/core/forecast/prospects.ts';
import { whyOf } from '../../src/core/forecast/why.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { NOOP_MODEL, completion, until } from '../support/pipeline.ts';
import { backlogOf } from '../support/queues.ts';
import { TestRedis } from '../support/redis.ts';
import { SUBMITTER } from '../support/submitter.ts';

const QUEUE = 'default.noop';

test('what a queue retries is a tenth of its jobs: the rest waits, says so, and comes up as jobs earn it', async () => {
  await using server = await TestRedis.start();
  const { keys } = server;
  const [admin, api, attestor] = [server.client(), server.client('api'), server.client('attestor')];
  const admission = admissionTo(server);
  const backlog = backlogOf(attestor, keys);
  const rulings = new Rulings(attestor, keys, backlog);
  const take = async () => [...(await backlog.take([QUEUE])).values()].flat(2).map(({ id }) => id);
  const submit = async () => (await admission.submit(SUBMITTER, parse(SubmitJob, completion('x', { attempts: 9 })))).id;
  const left = async () => Number(await admin.hget(keys.pace(QUEUE), 'retries'));
  // A worker whose engine begins with the claim.
  const run = async (id: string, epoch: number) => {
    await admin.hset(keys.claims(id), `e${epoch}`, `w ${'0'.repeat(64)} ${Date.now()} begins`);
    await admin.zrem(keys.released(QUEUE), id);
    await admin.zadd(keys.leases(QUEUE), 9e15, id);
  };
  const giveBack = async (id: string, epoch: number, why: 'released' | 'void') => {
    const action = { kind: 'close', why } as const;
    return rulings.apply([{ id, epoch, phases: ['running'], action, code: 'attempts_exhausted', detail: 'x' }]);
  };

  await admin.hset(keys.pace(QUEUE), { slots: 16, retries: 1 });
  const ids = [await submit(), await submit(), await submit()];
  await until(async () => (await admin.zcard(keys.released(QUEUE))) === 3);
  // Each of the three first tries has earned a tenth.
  expect(await left()).toBeCloseTo(retriesEarned(1, 3, 16), 2);
  for (const id of ids) await run(id, 1);
  const [first = '', second = '', voided = ''] = ids;
  await giveBack(first, 1, 'released');
  await giveBack(second, 1, 'released');
  await giveBack(voided, 1, 'void');
  // One retry was left; what is void is none.
  await take();
  const areReleased = await Promise.all(ids.map((id) => admin.zscore(keys.released(QUEUE), id)));
  expect(areReleased.map((at) => at !== null)).toEqual([true, false, true]);
  const view = await new JobReader(api, keys, keys.open).read(second);
  if (view === undefined) throw new Error('The job is gone.');
  const catalog = new Catalog([CatalogModel.parse(NOOP_MODEL)]);
  const prospect = await new Prospects(api, keys, catalog, new Outlooks(api, keys, 0.99)).of(view);
  const attestors = { present: 1, able: 1, problem: undefined };
  expect(whyOf(view, prospect, { attestors, enginesAway: 0 })).toMatchObject({
    held_by: 'retry_pause',
    numbers: { attempts: 1, waiting: 1 },
  });

  // Others earn it, and it comes up.
  let others = 0;
  for (; others < 20 && (await admin.exists(keys.heldBack(QUEUE))) === 1; others += 1) {
    await submit();
    await take();
  }
  expect(others).toBeGreaterThanOrEqual(5);
  expect(await admin.zscore(keys.released(QUEUE), second)).not.toBeNull();
  expect(await left()).toBeLessThan(1);

  // Where nothing else is at work one goes, whatever is left.
  await run(second, 2);
  await giveBack(second, 2, 'released');
  await admin.del(keys.released(QUEUE), keys.leases(QUEUE));
  await admin.hset(keys.pace(QUEUE), { retries: 0 });
  expect(await take()).toEqual([second]);
  // A queue of which nothing is known has its retries.
  await admin.hdel(keys.pace(QUEUE), 'retries');
  await run(second, 3);
  await giveBack(second, 3, 'released');
  expect(await left()).toBe(MOST_RETRIES - 1);
});
