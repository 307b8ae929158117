import { describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { Intake } from '../../src/core/confirmation/intake.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import type { JobState } from '../../src/proof/contract/job-states.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { attestorHands } from '../support/attestor-hands.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { completion, until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { waitingLike } from '../support/waiting-jobs.ts';

const QUEUE = 'default.noop';
const MANY = 20_000;
const FAR = 9e12;

function house(server: TestRedis) {
  const admission = admissionTo(server);
  const { keys } = server;
  const reader = new JobReader(server.client('api'), keys, keys.open);
  const body = parse(SubmitJob, completion('x'));
  return {
    keys,
    admin: server.client(),
    worker: new HandWorker(server.client('worker.default'), keys, newKey()),
    submit: async () => (await admission.submit(SUBMITTER, body)).id,
    state: async (id: string): Promise<JobState | undefined> => (await reader.read(id))?.state,
  };
}

/** How many commands Redis has run, those inside scripts too. */
async function commandsSoFar(admin: Redis): Promise<number> {
  const stats = await admin.info('commandstats');
  return [...stats.matchAll(/calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/** Sets the time at which a job is looked at to long ago, so that nobody has to wait for it. */
const makeDue = (admin: Redis, set: string, ...ids: string[]) =>
  Promise.all(ids.map((id) => admin.zadd(set, 'XX', 1, id)));

const bull = ({ keys }: TestRedis, part: string) => `${keys.poolQueues('default')}:${QUEUE}:${part}`;

describe('behind tens of thousands of waiting jobs', () => {
  test('a look comes to what is due, and its cost is that of what is due', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit, state } = house(server);
    const [lost, late] = [await submit(), await submit()];
    await waitingLike({ keys, admin }, await submit(), MANY, FAR);
    await worker.claim(lost);
    await hands.schedules.place([{ id: lost, epoch: 1 }]);
    await admin.del(keys.lease(lost));
    await makeDue(admin, keys.leases(QUEUE), lost);
    await admin.hset(keys.ticket(late), 'deadline', 1);
    await makeDue(admin, keys.open, late);

    const before = await commandsSoFar(admin);
    for (const name of ['deadlines', 'leases', 'deliveries', 'confirmations'] as const) await hands.sweep.look(name);
    await hands.backlog.release([QUEUE]);
    // Two jobs that were due and sixteen that are released: some hundreds, and not tens of thousands.
    expect((await commandsSoFar(admin)) - before).toBeLessThan(1_000);
    expect(await state(late)).toBe('expired');
    expect(await state(lost)).toBe('queued');
    expect(await admin.zscore(keys.released(QUEUE), lost)).not.toBeNull();
    expect(await admin.lrange(bull(server, 'wait'), 0, -1)).toContain(`${lost}-1`);
    expect(await admin.zcard(keys.backlog(QUEUE))).toBeGreaterThan(MANY - 100);
  });

  test('so many that expire at once are ended a page at a time, and nothing else waits for them', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit, state } = house(server);
    const running = await submit();
    await worker.claim(running);
    await hands.schedules.place([{ id: running, epoch: 1 }]);
    const ids = await waitingLike({ keys, admin }, await submit(), 2_000, 1);
    expect(await hands.sweep.look('deadlines')).toBe(200);
    expect(await admin.zcard(keys.open)).toBe(1_802);
    await admin.del(keys.lease(running));
    await makeDue(admin, keys.leases(QUEUE), running);
    expect(await hands.sweep.look('leases')).toBe(1);
    expect(await state(running)).toBe('queued');
    while ((await hands.sweep.look('deadlines')) === 200);
    expect(await Promise.all([ids[0], ids[999], ids.at(-1)].map((id) => state(id ?? '')))).toEqual(
      Array(3).fill('expired'),
    );
    expect(await admin.zcard(keys.open)).toBe(2);
  });
});

describe('what was released', () => {
  test('and never delivered, or deleted, or moved out of sight by a worker, is delivered again', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit } = house(server);
    const ids = [await submit(), await submit(), await submit(), await submit()];
    const [untouched = '', deleted = '', hidden = '', undelivered = ''] = ids;
    await worker.redis.lrem(bull(server, 'wait'), 0, deleted);
    await worker.redis.lrem(bull(server, 'wait'), 0, hidden);
    await worker.redis.zadd(bull(server, 'delayed'), FAR * 4096, hidden);
    // As a crash between release and delivery leaves it.
    await admin.lrem(bull(server, 'wait'), 0, undelivered);
    await admin.del(bull(server, undelivered));
    await makeDue(admin, keys.released(QUEUE), ...ids);
    expect(await hands.sweep.look('deliveries')).toBe(4);
    const waiting = await admin.lrange(bull(server, 'wait'), 0, -1);
    expect(waiting.toSorted()).toEqual([untouched, deleted, hidden, undelivered].toSorted());
    // Nothing is due again, and a second look changes nothing.
    expect(await hands.sweep.look('deliveries')).toBe(0);
  });

  test('and claimed without a word to the attestor is found to run; its lost lease too', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit, state } = house(server);
    const id = await submit();
    await worker.claim(id);
    await makeDue(admin, keys.released(QUEUE), id);
    await hands.sweep.look('deliveries');
    expect(await admin.zrange(keys.running(SUBMITTER.tenant), '0', '-1')).toEqual([id]);
    expect(await admin.zscore(keys.released(QUEUE), id)).toBeNull();
    // A lease that still holds is believed until it can have run out.
    await makeDue(admin, keys.leases(QUEUE), id);
    await hands.sweep.look('leases');
    expect(await state(id)).toBe('running');
    expect(Number(await admin.zscore(keys.leases(QUEUE), id))).toBeGreaterThan(Date.now());
    await admin.del(keys.lease(id));
    await makeDue(admin, keys.leases(QUEUE), id);
    await hands.sweep.look('leases');
    expect(await state(id)).toBe('queued');
    expect(await admin.exists(keys.running(SUBMITTER.tenant))).toBe(0);
  });

  test('and cancelled while nobody heard it is ended by the deadline schedule', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, submit, state } = house(server);
    const id = await submit();
    await admin.hset(keys.ticket(id), 'cancel', 1);
    await makeDue(admin, keys.open, id);
    await hands.sweep.look('deadlines');
    expect(await state(id)).toBe('cancelled');
  });
});

describe('a job that stands in no set, or in a wrong one', () => {
  test('is put where its documents say, also where it was heard of too late', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit } = house(server);
    const id = await submit();
    await admin.zrem(keys.released(QUEUE), id);
    await hands.schedules.place([{ id, epoch: 7 }]);
    await hands.sweep.look('deliveries');
    expect(await admin.lrange(bull(server, 'wait'), 0, -1)).toEqual([id]);
    const claim = await worker.claim(id);
    await worker.commit(claim);
    await hands.schedules.place([{ id, epoch: 1 }]);
    expect(await admin.zscore(keys.confirmations, id)).not.toBeNull();
    // Told again and again of the same commit, it does not put off the look at it.
    await makeDue(admin, keys.confirmations, id);
    await hands.schedules.place([{ id, epoch: 1 }]);
    expect(await admin.zscore(keys.confirmations, id)).toBe('1');
    // Ids without a document are passed over.
    expect(await hands.schedules.place([{ id: `${id.slice(0, 8)}${'0'.repeat(26)}`, epoch: 1 }])).toEqual([]);
  });
});

describe('while the log takes no entries', () => {
  test('what was committed waits for its confirmation, and the place of its worker is free', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit, state } = house(server);
    // Redis loses what the attestor has signed: nothing is judged from here on.
    await hands.sequencer.logDocument('keyring', newKey().public.id, Buffer.from('{}'));
    await until(async () => (await admin.hget(keys.log, 'size')) === '1');
    await admin.del(keys.log, keys.logTail);
    await until(() => !hands.sequencer.hasRoom());

    const id = await submit();
    const claim = await worker.claim(id);
    await hands.schedules.place([{ id, epoch: 1 }]);
    expect(await admin.zscore(keys.leases(QUEUE), id)).not.toBeNull();
    await worker.commit(claim);
    const intake = new Intake({
      ...hands,
      keys,
      stream: keys.attest('default'),
      pool: 'default',
      consumer: 'test',
      logger: createLogger('test', 'fatal'),
    });
    intake.start();
    await until(async () => (await admin.zscore(keys.confirmations, id)) !== null);
    expect(await admin.zscore(keys.leases(QUEUE), id)).toBeNull();
    expect(await state(id)).toBe('attesting');
    // It was not read in vain: the entry is there until somebody can judge.
    expect(await admin.xlen(keys.attest('default'))).toBeGreaterThan(0);
    await intake.stop();
  });
});
