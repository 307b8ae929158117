import { describe, expect, test } from '@jest/globals';
import type { Redis } from 'ioredis';
import { randomBytes } from 'node:crypto';
import type { Schedules } from '../../src/core/backlog/schedules.ts';
import { readCases } from '../../src/core/confirmation/case-file.ts';
import { judgeRelease } from '../../src/core/confirmation/release-judge.ts';
import { Retention } from '../../src/core/confirmation/retention.ts';
import { NoopEngine } from '../../src/core/engines/noop-engine.ts';
import { RedisPieces } from '../../src/core/execution/chunk-stream.ts';
import type { Claim } from '../../src/core/execution/claims.ts';
import { EnginePlaces } from '../../src/core/execution/engine-places.ts';
import { JobRunner } from '../../src/core/execution/job-runner.ts';
import { RunTimes } from '../../src/core/execution/run-times.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { Intake } from '../../src/core/confirmation/intake.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import type { JobState } from '../../src/proof/contract/job-states.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { admissionTo } from '../support/admission.ts';
import { attestorHands } from '../support/attestor-hands.ts';
import { DEFAULT_HINT } from '../../src/core/engines/time-hint.ts';
import { keepLearned } from '../../src/core/forecast/learned.store.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { completion, until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { waitingLike } from '../support/waiting-jobs.ts';

const QUEUE = 'default.noop';
const MANY = 20_000;
const FAR = 9e12;

/** What workers of the pool are told to stop, from here on. */
async function stopsHeard(server: TestRedis): Promise<string[]> {
  const ears = server.client('worker.default');
  const told: string[] = [];
  ears.on('message', (_channel: string, text: string) => told.push(...text.split(' ')));
  await ears.subscribe(server.keys.stopsChannel('default'));
  return told;
}

function house(server: TestRedis, wishes: object = {}) {
  const admission = admissionTo(server);
  const { keys } = server;
  const reader = new JobReader(server.client('api'), keys, keys.open);
  const body = parse(SubmitJob, completion('x', wishes));
  return {
    keys,
    admin: server.client(),
    reader,
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

const nothing = () => undefined;
const rejected = () => Promise.reject(new Error('There is no such blob.'));

/** Rules on what a worker has given back, as an attestor does. */
async function ruleOn(
  { redis, decisions }: Awaited<ReturnType<typeof attestorHands>>,
  { keys, signingKey }: HandWorker,
  id: string,
  epoch: number,
): Promise<void> {
  const fields = await redis.hkeys(keys.evidence(id));
  const field = fields.find((one) => one.startsWith(`${epoch}:`)) ?? '';
  const [file] = await readCases(redis, keys, [{ id, epoch, field }]);
  if (file === undefined) throw new Error('no case');
  const ruling = judgeRelease(file, { find: () => signingKey.public, barFrom: () => undefined });
  await decisions.rule(ruling === undefined ? [] : [ruling]);
}

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

describe('a job that has less time left than any such job takes', () => {
  /** Attestors have confirmed so many jobs of this size, which took so long. */
  const confirmed = async ({ admin, keys }: ReturnType<typeof house>, jobs: number, tookMs: number) => {
    const size = { task: 'completion', maxTokens: 128, inputBytes: 14 } as const;
    await keepLearned({ redis: admin, keys }, QUEUE, DEFAULT_HINT, (times) => {
      for (let at = 0; at < jobs; at += 1) times.learn({ size, flow: 'x', tookMs, cost: 1, afterMs: 1, atMs: 0 });
    });
    await admin.hset(keys.pace(QUEUE), 'least', 500_000);
  };
  const wishes = { deadline_ms: 300_000 };

  test('is not begun: an attestor ends it by what it has learned itself, and it has used no attempt', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server, wishes);
    await confirmed(all, 200, 1_000_000);
    const id = await all.submit();
    expect(await all.admin.zscore(all.keys.released(QUEUE), id)).toBeNull();
    expect(await hands.sweep.look('deadlines')).toBe(1);
    const view = await all.reader.read(id);
    expect(view).toMatchObject({ state: 'expired', attempts: [], ending: { code: 'would_not_finish' } });
    expect(view?.ending?.detail).toContain('500000 ms at the least');
    expect(await all.admin.lrange(bull(server, 'wait'), 0, -1)).toEqual([]);
  });

  test('and was given to a worker is given back, once: the attestor ends it, or has it begun', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server, wishes);
    const { keys, worker, reader } = all;
    const times = new RunTimes();
    for (let at = 0; at < 100; at += 1) times.note('noop', 1_000_000);
    const runner = new JobRunner({
      claims: worker.claims,
      pieces: new RedisPieces(worker.redis, keys, 'default', worker.id),
      blobs: { of: () => ({ put: rejected, get: rejected }) },
      storage: { problem: undefined, start: nothing, wake: nothing, stop: () => Promise.resolve() },
      heartbeat: { leaseOf: () => '', hold: nothing, drop: nothing },
      engines: { answered: nothing, failed: nothing },
      times,
      key: worker.signingKey,
      logger: createLogger('test', 'fatal'),
    });
    const engine = new NoopEngine({ name: 'noop', sha256: sha256Hex(''), parallel: 1 });
    const run = (id: string) => runner.run(id, engine, new EnginePlaces(1));
    const attempts = async (id: string) => (await reader.read(id))?.attempts.map(({ closed }) => closed?.why);

    const [begun, vain] = [await all.submit(), await all.submit()];
    await run(begun);
    await ruleOn(hands, worker, begun, 1);
    expect([await attempts(begun), await all.state(begun)]).toEqual([['void'], 'queued']);
    expect(await all.admin.zscore(keys.released(QUEUE), begun)).not.toBeNull();

    await confirmed(all, 200, 1_000_000);
    await run(vain);
    await ruleOn(hands, worker, vain, 1);
    expect(await all.admin.zscore(keys.released(QUEUE), vain)).toBeNull();
    expect(await hands.sweep.look('deadlines')).toBe(1);
    expect([await attempts(vain), (await reader.read(vain))?.ending?.code]).toEqual([['void'], 'would_not_finish']);

    // Whoever decided otherwise has the other one begun.
    await run(begun);
    expect([await attempts(begun), await all.state(begun)]).toEqual([['void', undefined], 'attesting']);
  });

  test.each([
    ['too little is known', 99, 1_000_000],
    ['such a job was shorter', 200, 400_000],
  ])('is placed again, and given to workers, where %s to the attestor', async (_, jobs, tookMs) => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server, wishes);
    await confirmed(all, jobs, tookMs);
    const id = await all.submit();
    expect(await all.admin.lrange(bull(server, 'wait'), 0, -1)).toEqual([]);
    expect(await hands.sweep.look('deadlines')).toBe(1);
    expect(await all.state(id)).toBe('queued');
    expect(await all.admin.zscore(all.keys.released(QUEUE), id)).not.toBeNull();
    expect(await hands.sweep.look('deliveries')).toBe(1);
    expect(await all.admin.lrange(bull(server, 'wait'), 0, -1)).toEqual([id]);
    expect(await hands.sweep.look('deadlines')).toBe(0);
  });
});

describe('what was released', () => {
  test('and never delivered, or deleted, or moved out of sight by a worker, is delivered again', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const { keys, admin, worker, submit } = house(server);
    const ids = [await submit(), await submit(), await submit(), await submit(), await submit()];
    const [untouched = '', deleted = '', hidden = '', undelivered = '', spoilt = ''] = ids;
    // Its name stands in the queue, and what it names is nothing that BullMQ could hand out.
    await worker.redis.del(bull(server, spoilt));
    await worker.redis.set(bull(server, spoilt), 'x');
    await worker.redis.lrem(bull(server, 'wait'), 0, deleted);
    await worker.redis.lrem(bull(server, 'wait'), 0, hidden);
    await worker.redis.zadd(bull(server, 'delayed'), FAR * 4096, hidden);
    // As a crash between release and delivery leaves it.
    await admin.lrem(bull(server, 'wait'), 0, undelivered);
    await admin.del(bull(server, undelivered));
    await makeDue(admin, keys.released(QUEUE), ...ids);
    expect(await hands.sweep.look('deliveries')).toBe(5);
    expect(await admin.type(bull(server, spoilt))).toBe('hash');
    const waiting = await admin.lrange(bull(server, 'wait'), 0, -1);
    expect([...new Set(waiting)].toSorted()).toEqual([untouched, deleted, hidden, undelivered, spoilt].toSorted());
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

describe('a claim that is held ready', () => {
  /** Claims a job ahead of its engine, and tells the attestor. */
  const hold = async ({ worker }: ReturnType<typeof house>, schedules: Schedules, id: string): Promise<Claim> => {
    const reply = await worker.claims.claim(id, randomBytes(8).toString('hex'), false);
    if (reply.kind !== 'ok') throw new Error(`not claimed: ${reply.kind}`);
    await schedules.place([{ id, epoch: reply.claim.epoch }]);
    return reply.claim;
  };
  const closings = async (reader: JobReader, id: string) =>
    (await reader.read(id))?.attempts.map(({ closed }) => closed?.why);

  test('costs no attempt when its worker is lost or drained; one when its engine had begun and its worker is lost', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server, { attempts: 1 });
    const { keys, admin, worker, submit, state, reader } = all;
    const id = await submit();
    const lose = async () => {
      await admin.del(keys.lease(id));
      await makeDue(admin, keys.leases(QUEUE), id);
      await hands.sweep.look('leases');
    };
    await hold(all, hands.schedules, id);
    expect(await state(id)).toBe('queued');
    await lose();
    const giveBack = async (claim: Claim) => {
      await worker.release(claim, 'drained');
      await ruleOn(hands, worker, id, claim.epoch);
    };
    await giveBack(await hold(all, hands.schedules, id));
    expect(await closings(reader, id)).toEqual(['void', 'void']);
    const begun = await hold(all, hands.schedules, id);
    expect(await worker.claims.begin(begun)).toBe('ok');
    expect(await state(id)).toBe('running');
    await giveBack(begun);
    expect([await closings(reader, id), await state(id)]).toEqual([['void', 'void', 'void'], 'queued']);
    expect(await worker.claims.begin(await hold(all, hands.schedules, id))).toBe('ok');
    await lose();
    expect([await closings(reader, id), await state(id)]).toEqual([['void', 'void', 'void', 'lost'], 'failed']);
  });

  test('that takes two workers with it as they run it fails, with its reason, and no third is given it', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server, { attempts: 10 });
    const { keys, admin, worker, submit, state, reader } = all;
    const id = await submit();
    const lose = async (isBegun: boolean) => {
      const claim = await hold(all, hands.schedules, id);
      if (isBegun) expect(await worker.claims.begin(claim)).toBe('ok');
      await admin.del(keys.lease(id));
      await makeDue(admin, keys.leases(QUEUE), id);
      await hands.sweep.look('leases');
    };
    for (const isBegun of [false, true, false]) await lose(isBegun);
    expect(await state(id)).toBe('queued');
    await lose(true);
    expect(await closings(reader, id)).toEqual(['void', 'lost', 'void', 'lost']);
    const detail = '2 workers were lost while they ran it; it is given to no other.';
    expect((await reader.read(id))?.ending).toMatchObject({ state: 'failed', code: 'workers_lost', detail });
    expect((await worker.tryClaim(id)).kind).toBe('useless');
  });

  test.each(['cancel', 'deadline'] as const)('is ended at its %s without waiting for its worker', async (what) => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server);
    const { keys, admin, worker, submit, state } = all;
    const id = await submit();
    const claim = await hold(all, hands.schedules, id);
    const told = await stopsHeard(server);
    await admin.hset(keys.ticket(id), what, 1);
    await makeDue(admin, keys.open, id);
    await hands.sweep.look('deadlines');
    expect(await state(id)).toBe(what === 'cancel' ? 'cancelled' : 'expired');
    expect(await worker.claims.begin(claim)).toBe('final');
    await until(() => told.includes(`${id}:1`));
  });

  test('is taken back while places are free and nothing waits: so many as there are places, and a few times', async () => {
    await using server = await TestRedis.start();
    await using hands = await attestorHands(server);
    const all = house(server);
    const { keys, admin, worker, submit, state, reader } = all;
    const ids = [await submit(), await submit(), await submit()];
    const [first = '', second = '', third = ''] = ids;
    const claims = [await hold(all, hands.schedules, first), await hold(all, hands.schedules, second)];
    await admin.hset(keys.pace(QUEUE), 'slots', 1);
    const look = async () => {
      await makeDue(admin, keys.ready(QUEUE), ...ids);
      await hands.sweep.look('ready');
    };
    // One job waits for a worker: it is for the place that is free.
    await look();
    expect(await admin.zcard(keys.ready(QUEUE))).toBe(2);
    await worker.claim(third);
    await hands.schedules.place([{ id: third, epoch: 1 }]);
    // The place is taken.
    await look();
    expect(await admin.zcard(keys.ready(QUEUE))).toBe(2);
    await admin.hset(keys.pace(QUEUE), 'slots', 2);
    const told = await stopsHeard(server);
    await look();
    const taken = (await closings(reader, first))?.[0] === 'void' ? 0 : 1;
    expect(await admin.zcard(keys.ready(QUEUE))).toBe(1);
    const id = ids[taken] ?? '';
    await until(() => told.includes(`${id}:1`));
    // Who held it cannot begin any more, and who is free can.
    const old = claims[taken];
    if (old === undefined) throw new Error('no claim');
    expect(await worker.claims.begin(old)).toBe('fenced');
    expect(await admin.zscore(keys.released(QUEUE), id)).not.toBeNull();
    for (let epoch = 2; epoch <= 5; epoch += 1) {
      await hold(all, hands.schedules, id);
      await look();
      expect((await closings(reader, id))?.at(-1)).toBe(epoch <= 4 ? 'void' : undefined);
    }
    expect(await state(id)).toBe('queued');
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

describe('attestors that were told to keep different things', () => {
  test('forget nothing that any of them was told to keep, until it was not heard of for a while', async () => {
    await using server = await TestRedis.start();
    const redis = server.client('attestor');
    const { keys } = server;
    const admin = server.client();
    const logger = createLogger('test', 'fatal');
    const told = (keepMs: number, keepJobs: number) => new Retention({ redis, keys, keepMs, keepJobs, logger });
    const [short, many] = [told(60_000, 2), told(30_000, 5)];
    const now = Date.now();
    const end = async (age: number) => {
      const id = `job_${age}`;
      await admin.set(keys.record(id), `1 cancelled - ${now - age} acme noop `);
      await admin.zadd(keys.ended, now - age, id);
      await admin.zadd(keys.endedOf('acme'), now - age, id);
    };
    for (const age of [45_000, 44_000, 43_000, 42_000, 41_000, 40_000, 90_000]) await end(age);
    await admin.hset(keys.jobEnds, 'cursor', now);
    await admin.sadd(keys.overfull, 'acme');
    const kept = async () => (await admin.zrange(keys.ended, '0', '-1')).map((id) => Number(id.slice(4)));
    expect(await many.agreed()).toEqual({ keepMs: 30_000, keepJobs: 5 });
    expect(await short.agreed()).toEqual({ keepMs: 60_000, keepJobs: 5 });
    // Each of them forgets what is too old for all, and what is too much for all.
    for (const retention of [many, short, many]) await retention.look();
    expect(await kept()).toEqual([44_000, 43_000, 42_000, 41_000, 40_000]);
    // The one that kept many is gone: what is too much for the other alone was remembered meanwhile.
    await admin.hset(keys.retention, '30000 5', now - 15_001);
    await short.look();
    expect(await kept()).toEqual([41_000, 40_000]);
    expect(await admin.hkeys(keys.retention)).toEqual(['60000 2']);
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
