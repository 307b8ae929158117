import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  NO_LEADS,
  afterTurn,
  jobsBeside,
  keptLeads,
  laneOf,
  lanesOf,
  nextBand,
  type Leads,
} from '../../src/core/backlog/bands.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { readDuePlace } from '../../src/core/forecast/due-places.ts';
import { Outlooks } from '../../src/core/forecast/outlooks.ts';
import { Prospects } from '../../src/core/forecast/prospects.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { bandIn } from '../../src/core/jobs/band.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import { BANDS, type BandName } from '../../src/proof/contract/bands.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { NOOP_MODEL, completion } from '../support/pipeline.ts';
import { backlogOf } from '../support/queues.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { IS_LONG } from '../support/thorough.ts';

const QUEUE = 'default.noop';
/** What is released where nothing is known of workers. */
const FLOOR = 16;

interface Drawn {
  readonly band: BandName;
  readonly flow: string;
  readonly cost: number;
  readonly weight: number;
}

/** An API and an attestor's hands on one Redis; nobody ticks. */
function house(server: TestRedis) {
  const { keys } = server;
  const [admission, attestor, admin] = [admissionTo(server), server.client('attestor'), server.client()];
  const backlog = backlogOf(attestor, keys);
  const submit = async ({ band, flow, cost, weight }: Drawn) => {
    const body = parse(SubmitJob, completion('x', { band, params: { max_tokens: 64 * cost - 1 } }));
    const limits = { ...SUBMITTER.limits, tenant: { ...SUBMITTER.limits.tenant, weight } };
    const { id } = await admission.submit({ ...SUBMITTER, tenant: flow, limits }, body);
    const [charge] = await admin.hmget(keys.job(id), 'charge');
    return { id, band, flow, weight, charge: Number(charge) };
  };
  const pause = (isPaused: boolean) =>
    isPaused ? admin.hset(keys.poolStates, 'default', 'paused 1 test') : admin.hdel(keys.poolStates, 'default');
  /** Takes so many, if there are, and makes room again. */
  const take = async (at: number): Promise<string[]> => {
    const held = Array.from({ length: FLOOR - at }, (_, n) => `held${n}`);
    for (const id of held) await admin.zadd(keys.leases(QUEUE), 9e15, id);
    // What is released in a moment makes no more room.
    await admin.hset(keys.pace(QUEUE), 'rate', 0, 'since', 9e15);
    await pause(false);
    const ids = [...(await backlog.take([QUEUE])).values()].flat(2).map(({ id }) => id);
    await pause(true);
    if (held.length > 0) await admin.zrem(keys.leases(QUEUE), ...held);
    if (ids.length > 0) await admin.zrem(keys.released(QUEUE), ...ids);
    return ids;
  };
  return { admission, admin, attestor, backlog, keys, pause, submit, take };
}

test('bands take turns as the arithmetic says, flows as before within each, and nobody waits for ever', async () => {
  await using server = await TestRedis.start();
  const { admin, keys, pause, submit, take } = house(server);
  const job = fc.record({
    band: fc.constantFrom(...BANDS),
    flow: fc.constantFrom('a', 'b', 'c'),
    cost: fc.constantFrom(1, 1, 2, 7, 30),
  });
  const step = fc.record({ jobs: fc.array(job, { maxLength: 12 }), take: fc.integer({ min: 1, max: FLOOR }) });
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async (steps) => {
      runs += 1;
      type Facts = Awaited<ReturnType<typeof submit>>;
      const waiting = new Map<string, Facts>();
      const served: Facts[] = [];
      let leads: Leads = NO_LEADS;
      const bandsThere = () => new Set([...waiting.values()].map(({ band }) => band));
      const round = async (most: number) => {
        const ids = await take(most);
        // Whatever a band does not use, others do.
        expect(ids).toHaveLength(Math.min(most, waiting.size));
        for (const id of ids) {
          const its = waiting.get(id);
          expect(its?.band).toBe(nextBand(leads, bandsThere()));
          if (its === undefined) throw new Error('something else was taken');
          leads = afterTurn(leads, its.band, its.charge * its.weight);
          waiting.delete(id);
          served.push(its);
        }
        leads = keptLeads(leads, bandsThere());
        const kept = await admin.hget(keys.pace(QUEUE), 'bands');
        const [standard = 0, interactive = 0, batch = 0] = (kept ?? '0 0 0').split(' ').map(Number);
        for (const [band, lead] of Object.entries({ interactive, standard, batch }))
          expect(lead).toBeCloseTo(leads[bandIn(band)], 6);
      };
      await pause(true);
      for (const { jobs, take: most } of steps) {
        for (const one of jobs) {
          const facts = await submit({ ...one, flow: `${runs}.${one.flow}`, weight: one.flow === 'c' ? 3 : 1 });
          waiting.set(facts.id, facts);
        }
        await round(most);
      }
      while (waiting.size > 0) await round(FLOOR);
      for (const lane of lanesOf(QUEUE))
        expect(await admin.exists(keys.backlog(lane), keys.outOfTurn(lane), keys.turnDebts(lane))).toBe(0);
      expect(await admin.hexists(keys.pace(QUEUE), 'bands')).toBe(0);
    }),
    { numRuns: IS_LONG ? 200 : 8 },
  );
});

test('what waits in a band is served first-come within its flow, and a flow in two bands has a turn in each', async () => {
  await using server = await TestRedis.start();
  const { pause, submit, take } = house(server);
  await pause(true);
  const bandOf = new Map<string, string>();
  const add = async (count: number, band: BandName, flow: string) => {
    for (let at = 0; at < count; at += 1)
      bandOf.set((await submit({ band, flow, cost: 1, weight: 1 })).id, `${band} ${flow}`);
  };
  await add(120, 'batch', 'a');
  await add(120, 'standard', 'a');
  await add(60, 'standard', 'b');
  await add(30, 'interactive', 'a');
  const order: string[] = [];
  while (order.length < 50) order.push(...(await take(10)));
  const count = (what: string) => order.filter((id) => bandOf.get(id) === what).length;
  // 60, 30 and 10 of 100, and within the standard band as much for each flow.
  expect([count('interactive a'), count('standard a') + count('standard b'), count('batch a')]).toEqual([30, 15, 5]);
  expect(Math.abs(count('standard a') - count('standard b'))).toBeLessThanOrEqual(1);
  // Once nothing is interactive, the others share its part, three to one.
  order.length = 0;
  while (order.length < 40) order.push(...(await take(10)));
  expect(Math.abs(count('batch a') - 10)).toBeLessThanOrEqual(1);
});

test('a band whose first jobs a limit holds back stops no other, and what is queued again comes first in its own', async () => {
  await using server = await TestRedis.start();
  const { admin, attestor, backlog, keys, pause, submit, take } = house(server);
  await pause(true);
  await admin.hset(keys.runningLimits, 'held', '0 - -');
  const held = await submit({ band: 'interactive', flow: 'held', cost: 1, weight: 1 });
  const [first, second] = [
    await submit({ band: 'batch', flow: 'a', cost: 1, weight: 1 }),
    await submit({ band: 'batch', flow: 'a', cost: 1, weight: 1 }),
  ];
  expect(await take(1)).toEqual([first.id]);
  expect(await admin.hget(keys.pace(QUEUE), 'bands')).toBeNull();
  // It is tried again.
  await new HandWorker(server.client('worker.default'), keys, newKey()).claim(first.id);
  const ruling = { id: first.id, epoch: 1, phases: ['running'], code: 'test', detail: '' } as const;
  await admin.zadd(keys.leases(QUEUE), 9e15, 'full');
  await new Rulings(attestor, keys, backlog).apply([{ ...ruling, action: { kind: 'close', why: 'released' } }]);
  const lane = laneOf(QUEUE, 'batch');
  expect(await admin.zrange(keys.backlog(lane), '0', '-1')).toEqual([first.id, second.id]);
  expect(await admin.zcard(keys.backlog(QUEUE))).toBe(0);
  await admin.zrem(keys.leases(QUEUE), 'full');
  expect(await take(2)).toEqual([first.id, second.id]);
  await admin.hdel(keys.runningLimits, 'held');
  expect(await take(2)).toEqual([held.id]);
});

test('a place that is told counts what other bands get before it, and that is what comes', async () => {
  await using server = await TestRedis.start();
  const { admin, keys, pause, submit, take } = house(server);
  const api = server.client('api');
  const model = CatalogModel.parse(NOOP_MODEL);
  const outlooks = new Outlooks(api, keys, 0.99);
  const prospects = new Prospects(api, keys, new Catalog([model]), outlooks);
  const reader = new JobReader(api, keys, keys.open);
  const counts = fc.record({
    interactive: fc.integer({ min: 0, max: 12 }),
    standard: fc.integer({ min: 0, max: 12 }),
    batch: fc.integer({ min: 0, max: 12 }),
  });
  await fc.assert(
    fc.asyncProperty(counts, async (waiting) => {
      await pause(true);
      const told = new Map<string, number>();
      for (const band of BANDS) {
        for (let at = 0; at < waiting[band]; at += 1)
          told.set((await submit({ band, flow: band, cost: 1, weight: 1 })).id, 0);
      }
      for (const band of BANDS) {
        const ids = await admin.zrange(keys.backlog(laneOf(QUEUE, band)), '0', '-1');
        for (const [rank, id] of ids.entries()) {
          const before = rank + jobsBeside(band, rank, waiting);
          const view = await reader.read(id);
          expect(view && (await prospects.of(view))?.spot).toMatchObject({ set: 'backlog', before });
          told.set(id, before);
        }
        // A job that may begin now, and comes behind all of its band, has the place that its tag gives it.
        const size = { task: 'completion', maxTokens: 63, inputBytes: 20 } as const;
        const asked = { size, flow: band, band, weight: 1, timeMs: 60_000, isLater: true };
        const forecast = { ...outlooks.forecast(model, asked), slots: 1 };
        const due = { id: '', queue: QUEUE, flow: band, band, notBeforeMs: 0 };
        const place = await readDuePlace({ redis: api, keys }, forecast, due);
        expect(place.ends).toBeCloseTo(ids.length + jobsBeside(band, ids.length, waiting), 6);
      }
      let at = 0;
      while (at < told.size) {
        for (const id of await take(FLOOR)) {
          expect(Math.abs((told.get(id) ?? NaN) - at)).toBeLessThanOrEqual(2);
          at += 1;
        }
      }
    }),
    { numRuns: IS_LONG ? 100 : 8, endOnFailure: true },
  );
});
