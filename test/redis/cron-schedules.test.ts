import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AuditFiles } from '../../src/core/audit/audit-files.ts';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { ScheduleRunner } from '../../src/surfaces/schedules/schedule-runner.ts';
import type { Schedule } from '../../src/surfaces/schedules/schedule.ts';
import { MAX_SCHEDULES, Schedules, newScheduleId, type Author } from '../../src/surfaces/schedules/schedule.store.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Tenants } from '../../src/surfaces/tenants/tenant.store.ts';
import { admissionTo } from '../support/admission.ts';
import { completion } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';

const HOUR_MS = 3_600_000;
const AUTHOR: Author = { by: 'test', action: 'schedule.create', detail: {} };

let server: TestRedis;
let schedules: Schedules;
let apiKeys: ApiKeys;
let tenants: Tenants;

beforeAll(async () => {
  server = await TestRedis.start();
  const [redis, { keys }] = [server.client('api'), server];
  schedules = new Schedules(redis, keys);
  apiKeys = new ApiKeys(redis, keys);
  tenants = new Tenants(redis, keys, new AuditLog(redis, keys));
});
afterAll(() => server[Symbol.asyncDispose]());

/** A courier's part in it, with connections of its own. */
function courier(): ScheduleRunner {
  const redis = server.client('api');
  const { keys } = server;
  const reader = new JobReader(redis, keys, keys.open);
  const parts = { redis, keys, schedules, apiKeys, reader, admission: admissionTo(server) };
  return new ScheduleRunner(parts, createLogger('courier', 'silent'));
}

/** A schedule that has been due since a moment ago, and next in an hour or so. */
async function dueNow(tenant: string, more: Partial<Schedule> = {}): Promise<Schedule> {
  const { keyId } = await apiKeys.create('test', { tenant, scopes: ['submit'] });
  const now = Math.floor(Date.now() / 60_000) * 60_000;
  const at = new Date(now);
  const schedule: Schedule = {
    id: newScheduleId(),
    name: '',
    metadata: {},
    cron: `${at.getUTCMinutes()} * * * *`,
    timezone: 'UTC',
    overlap: 'allow',
    catchUp: 'newest',
    startMs: null,
    endMs: null,
    tenant,
    keyId,
    createdMs: now - HOUR_MS,
    pausedMs: null,
    pausedBecause: null,
    nextMs: now,
    waiting: null,
    lastJob: null,
    request: SubmitJob.parse(completion('again')),
    runs: [],
    ...more,
  };
  return schedules.create(schedule, AUTHOR);
}

const openJobs = (tenant: string) => server.admin.zcard(server.keys.openOf(tenant));
/** Whatever has a schedule taken, another may look at it now. */
const letGo = ({ id }: Schedule) => server.admin.zadd(server.keys.schedules, 1, id);

describe('schedules that are due', () => {
  test('many couriers at once, again and again: one job for one due time', async () => {
    const schedule = await dueNow('many');
    const couriers = Array.from({ length: 5 }, courier);
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(couriers.map((one) => one.look()));
      await letGo(schedule);
    }
    const after = await schedules.get('many', schedule.id);
    expect(after.runs).toMatchObject([{ outcome: 'submitted', dueMs: schedule.nextMs }]);
    expect(after.nextMs).toBe((schedule.nextMs ?? 0) + HOUR_MS);
    expect(await openJobs('many')).toBe(1);
  });

  test('a courier that died between the job and the note of it: the next one finds the job', async () => {
    const dueMs = Math.floor(Date.now() / 60_000) * 60_000;
    const schedule = await dueNow('died', { waiting: { dueMs, begunMs: dueMs, problem: null } });
    const key = `\0schedule ${schedule.id} ${dueMs}`;
    const submitter = { tenant: 'died', keyId: schedule.keyId, limits: { tenant: {}, key: {} } };
    const { id: job } = await admissionTo(server).submit(submitter, schedule.request, { idempotencyKey: key });
    await letGo(schedule);
    await courier().look();
    const after = await schedules.get('died', schedule.id);
    expect(after.runs[0]).toMatchObject({ outcome: 'submitted', job, dueMs });
    expect(await openJobs('died')).toBe(1);
  });

  test('a submission that was begun a day ago is not repeated: nobody would know the first job', async () => {
    const dueMs = Date.now() - 24 * HOUR_MS;
    const schedule = await dueNow('long-ago', { nextMs: null, waiting: { dueMs, begunMs: dueMs, problem: null } });
    await letGo(schedule);
    await courier().look();
    expect((await schedules.get('long-ago', schedule.id)).runs).toMatchObject([{ outcome: 'missed', dueMs }]);
    expect(await openJobs('long-ago')).toBe(0);
  });

  test('what admission refuses is told with its code, and the schedule goes on', async () => {
    const request = SubmitJob.parse(completion('x', { model: 'gone' }));
    const schedule = await dueNow('refused', { request });
    await courier().look();
    const after = await schedules.get('refused', schedule.id);
    expect(after.runs).toMatchObject([{ outcome: 'refused', code: 'model_not_found' }]);
    expect(after).toMatchObject({ waiting: null, pausedMs: null, nextMs: (schedule.nextMs ?? 0) + HOUR_MS });
  });

  test('what may pass is tried again, and says meanwhile why it waits', async () => {
    await tenants.create('test', 'busy', { concurrent_jobs: 1 });
    const [first, second] = [await dueNow('busy'), await dueNow('busy')];
    await courier().look();
    const states = await Promise.all([first, second].map(({ id }) => schedules.get('busy', id)));
    const waits = states.find(({ waiting }) => waiting !== null);
    expect(waits?.waiting?.problem).toMatchObject({ code: 'rate_limited' });
    await tenants.change('test', 'busy', { limits: {} });
    await letGo(waits ?? first);
    await courier().look();
    expect((await schedules.get('busy', waits?.id ?? '')).runs).toMatchObject([{ outcome: 'submitted' }]);
    expect(await openJobs('busy')).toBe(2);
  });

  test.each([
    ['revoked', (keyId: string) => apiKeys.revoke('test', keyId), /^The API key [0-9a-f]+ was revoked\.$/],
    ['disabled', () => tenants.change('test', 'disabled', { disabled: true }), /^The tenant is disabled\.$/],
  ])('%s: it is paused, says why, and makes no job', async (tenant, end, because) => {
    await tenants.create('test', tenant, {});
    const schedule = await dueNow(tenant);
    await end(schedule.keyId);
    await courier().look();
    const after = await schedules.get(tenant, schedule.id);
    expect(after.pausedBecause).toMatch(because);
    expect(after.runs).toMatchObject([{ outcome: 'refused', code: 'unauthenticated' }]);
    expect(await openJobs(tenant)).toBe(0);
    expect(await server.admin.zscore(server.keys.schedules, schedule.id)).toBeNull();
    const files = new AuditFiles(new FolderTree(join(tmpdir(), 'no-files')));
    const { entries } = await new AuditLog(server.client('api'), server.keys).list(files, { limit: 20, tenant });
    expect(entries).toContainEqual(
      expect.objectContaining({ by: 'courier', action: 'schedule.pause', target: schedule.id, tenant }),
    );
  });

  test('a key that was rotated and has expired: its successor stands for it', async () => {
    const schedule = await dueNow('rotated');
    const { keyId } = await apiKeys.rotate('test', schedule.keyId, 0);
    expect(await apiKeys.standing('rotated', schedule.keyId)).toMatchObject({ submitter: { keyId } });
    await courier().look();
    expect((await schedules.get('rotated', schedule.id)).runs).toMatchObject([{ outcome: 'submitted' }]);
  });

  test('one that cannot be read holds up no other', async () => {
    const [bad, good] = [await dueNow('spoilt'), await dueNow('spoilt')];
    await server.client().hset(server.keys.schedule(bad.id), 'body', '{');
    await courier().look();
    expect((await schedules.get('spoilt', good.id)).runs).toHaveLength(1);
    await server.client().del(server.keys.schedule(bad.id));
  });

  test('a tenant has so many, however many are made at once', async () => {
    const made = await Promise.allSettled(
      Array.from({ length: MAX_SCHEDULES + 10 }, () => dueNow('hoarder', { nextMs: null })),
    );
    const refused = made.filter((one) => one.status === 'rejected');
    expect(refused.map(({ reason }) => reason as unknown)).toEqual(
      Array.from({ length: 10 }, () => expect.objectContaining({ code: 'too_many_schedules' })),
    );
  });
});
