import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import { Outlooks } from '../../src/core/forecast/outlooks.ts';
import { Prospects } from '../../src/core/forecast/prospects.ts';
import { whyOf } from '../../src/core/forecast/why.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Tenants } from '../../src/surfaces/tenants/tenant.store.ts';
import { admissionTo } from '../support/admission.ts';
import { NOOP_MODEL, completion } from '../support/pipeline.ts';
import { backlogOf } from '../support/queues.ts';
import { TestRedis } from '../support/redis.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { IS_LONG } from '../support/thorough.ts';

const QUEUE = 'default.noop';
/** Room where nothing is known of workers, and the least that there is. */
const FLOOR = 16;
const ATTESTORS = { present: 1, able: 1, problem: undefined };

describe('limits on what workers have at once', () => {
  let server: TestRedis;
  let all: ReturnType<typeof house>;
  beforeAll(async () => {
    server = await TestRedis.start();
    all = house(server);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('hold what is beyond them back, and neither other jobs of the tenant nor other tenants', async () => {
    const { keys, admin, tenants, apiKeys, submit, take, end, why } = all;
    await all.room(40);
    await tenants.create('test', 'capped', { running_jobs: 5 });
    const { keyId } = await apiKeys.create('test', {
      tenant: 'capped',
      scopes: ['submit'],
      limits: { running_jobs_per_model: 2 },
    });
    const narrow = await submit('capped', 12, keyId);
    const wide = await submit('capped', 12);
    const others = await submit('other', 10);
    const taken = await take();
    expect(taken.filter((id) => narrow.includes(id))).toEqual(narrow.slice(0, 2));
    expect(taken.filter((id) => wide.includes(id))).toEqual(wide.slice(0, 3));
    expect(others.every((id) => taken.includes(id))).toBe(true);
    expect(await take()).toEqual([]);

    expect(await why(narrow[2])).toMatchObject({
      held_by: 'limit',
      detail: 'Its API key may have 2 jobs of noop with workers at once, and has 2.',
      numbers: { limit: 2, at_work: 2 },
    });
    expect((await why(wide[3])).detail).toBe('Its tenant may have 5 jobs with workers at once, and has 5.');

    // What has left the workers makes room, and the first that is held back goes.
    await end(narrow[0]);
    expect(await take()).toEqual([narrow[2]]);
    // It is cancelled like any other job, and passes its turn on.
    await all.cancel(wide[3]);
    await end(wide[0]);
    expect(await take()).toEqual([wide[4]]);
    // A limit that is raised or taken away counts for what waits.
    await apiKeys.change('test', keyId, { limits: {} });
    await tenants.change('test', 'capped', { limits: { running_jobs: 8 } });
    expect(await take()).toHaveLength(3);
    await tenants.change('test', 'capped', { limits: {} });
    for (let more = await take(); more.length > 0; more = await take()) await end(...more);
    expect(await admin.zcard(keys.backlog(QUEUE))).toBe(0);
    expect(await admin.exists(keys.runningLimits, keys.heldBack(QUEUE), keys.turnDebts(QUEUE))).toBe(0);
    await end(...narrow, ...wide, ...others);
  });

  test('of a rotated key are one with those of the key before it', async () => {
    const { apiKeys, submit, take, end } = all;
    const { keyId } = await apiKeys.create('test', {
      tenant: 'turning',
      scopes: ['submit'],
      limits: { running_jobs: 2 },
    });
    const before = await submit('turning', 2, keyId);
    const after = await submit('turning', 2, (await apiKeys.rotate('test', keyId, 60_000)).keyId);
    expect(await take()).toEqual(before);
    await end(before[0]);
    expect(await take()).toEqual([after[0]]);
    await end(...before, ...after);
    expect(await take()).toEqual([after[1]]);
    await end(...after);
  });

  test('are never exceeded, idle no place that another job may have, and give no tenant more than its share', async () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('submit' as const),
          who: fc.nat(2),
          cost: fc.integer({ min: 1, max: 5 }),
        }),
      },
      { weight: 3, arbitrary: fc.constant({ kind: 'take' as const }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat() }) },
    );
    const [places, most] = [4, 2];
    await all.room(places);
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        runs += 1;
        const nameOf = (who: number) => `${runs}-${who}`;
        await all.tenants.create('test', nameOf(0), { running_jobs: most });
        const waiting = new Map<string, number>();
        const working = new Map<string, number>();
        const count = (jobs: ReadonlyMap<string, number>, who: number) =>
          [...jobs.values()].filter((one) => one === who).length;
        const take = async () => {
          for (const id of await all.take()) {
            working.set(id, waiting.get(id) ?? NaN);
            waiting.delete(id);
          }
          expect(count(working, 0)).toBeLessThanOrEqual(most);
          expect([...working.values()].every((who) => !Number.isNaN(who))).toBe(true);
          if (working.size < places) expect([...waiting.values()].every((who) => who === 0)).toBe(true);
          if (working.size < places && waiting.size > 0) expect(count(working, 0)).toBe(most);
        };
        for (const one of steps)
          switch (one.kind) {
            case 'submit':
              for (const id of await all.submit(nameOf(one.who), one.who === 0 ? 4 : 1, undefined, one.cost))
                waiting.set(id, one.who);
              break;
            case 'take':
              await take();
              break;
            case 'end': {
              const id = [...working.keys()][one.which % Math.max(1, working.size)];
              await all.end(id);
              working.delete(id ?? '');
              break;
            }
            case 'cancel': {
              const id = [...waiting.keys()][one.which % Math.max(1, waiting.size)];
              if (id !== undefined) await all.cancel(id);
              waiting.delete(id ?? '');
              break;
            }
          }
        // Whatever was held back meanwhile: beside another tenant, one for one.
        await all.end(...working.keys());
        working.clear();
        for (const id of await all.submit(nameOf(0), 20)) waiting.set(id, 0);
        for (const id of await all.submit(nameOf(3), 20)) waiting.set(id, 3);
        for (let turns = 0; waiting.size > 0; turns += 1) {
          expect(turns).toBeLessThan(1_000);
          await take();
          await all.end(...working.keys());
          working.clear();
        }
        expect(
          await all.admin.exists(all.keys.heldBack(QUEUE), all.keys.turnDebts(QUEUE), all.keys.outOfTurn(QUEUE)),
        ).toBe(0);
      }),
      { numRuns: IS_LONG ? 60 : 4 },
    );
  });

  test('what was held back while its tenant was alone gets no more than a share beside another', async () => {
    const { tenants, submit, take, end, room } = all;
    await room(8);
    await tenants.create('test', 'steady', { running_jobs: 6 });
    const held = await submit('steady', 200);
    for (let turn = 0; turn < 5; turn += 1) await end(...(await take()));
    const late = await submit('late', 80);
    const served = [];
    for (let turn = 0; turn < 12; turn += 1) {
      const ids = await take();
      await end(...ids);
      served.push(...ids);
    }
    const ofLate = served.filter((id) => late.includes(id)).length;
    // One for one, but for what came up before it was there.
    expect(ofLate / served.length).toBeGreaterThanOrEqual(0.45);
    await all.cancel(...held, ...late);
    await take().then((ids) => end(...ids));
  });
});

function house(server: TestRedis) {
  const { keys } = server;
  const [admin, api, attestor] = [server.client(), server.client('api'), server.client('attestor')];
  const admission = admissionTo(server);
  const backlog = backlogOf(attestor, keys);
  const reader = new JobReader(api, keys, keys.open);
  const catalog = new Catalog([CatalogModel.parse(NOOP_MODEL)]);
  const prospects = new Prospects(api, keys, catalog, new Outlooks(api, keys, 0.99));
  const rulings = new Rulings(attestor, keys, backlog);
  const pause = (isPaused: boolean) =>
    isPaused ? admin.hset(keys.poolStates, 'default', 'paused 1 test') : admin.hdel(keys.poolStates, 'default');
  return {
    keys,
    admin,
    tenants: new Tenants(api, keys, new AuditLog(api, keys)),
    apiKeys: new ApiKeys(api, keys),
    /** There is room for so many at once: for more than where nothing is known of workers, or for less. */
    room: async (count: number) => {
      // What is released in a moment would make more room, and is not measured here.
      await admin.hset(keys.pace(QUEUE), 'slots', count / 2, 'rate', 0, 'since', 9e15);
      await admin.del(keys.leases(QUEUE));
      for (let taken = count; taken < FLOOR; taken += 1) await admin.zadd(keys.leases(QUEUE), 9e15, `other${taken}`);
    },
    /** Jobs that wait: nothing is released meanwhile. */
    submit: async (tenant: string, count: number, keyId = 'test', cost = 1): Promise<string[]> => {
      await pause(true);
      const body = parse(SubmitJob, completion('x', { params: { max_tokens: 64 * cost - 1 } }));
      const ids: string[] = [];
      for (let n = 0; n < count; n += 1) ids.push((await admission.submit({ ...SUBMITTER, tenant, keyId }, body)).id);
      await pause(false);
      return ids;
    },
    take: async (): Promise<string[]> => [...(await backlog.take([QUEUE])).values()].flat(2).map(({ id }) => id),
    /** They have left the workers. */
    end: async (...ids: (string | undefined)[]) => {
      for (const id of ids) await admin.zrem(keys.released(QUEUE), id ?? '');
    },
    cancel: async (...ids: (string | undefined)[]) => {
      await pause(true);
      const action = { kind: 'end', state: 'cancelled' } as const;
      await rulings.apply(
        ids.map((id = '') => ({ id, epoch: 0, phases: ['queued'] as const, action, code: 'cancelled', detail: '' })),
      );
      await pause(false);
    },
    why: async (id = '') => {
      const view = await reader.read(id);
      if (view === undefined) throw new Error('There is no such job.');
      return whyOf(view, await prospects.of(view), { attestors: ATTESTORS, enginesAway: 0 });
    },
  };
}
