import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { backlogOf } from '../support/queues.ts';
import { Schedules } from '../../src/core/backlog/schedules.ts';
import type { JobSize } from '../../src/core/forecast/job-size.ts';
import { readCases, type CaseFile } from '../../src/core/confirmation/case-file.ts';
import { Rulings, type Ruling } from '../../src/core/confirmation/rulings.ts';
import { Sealer } from '../../src/core/confirmation/sealer.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { JobInputs } from '../../src/core/jobs/job-inputs.ts';
import { BlobFolders } from '../../src/ground/blobs/blob-folders.ts';
import { JobReader, MAX_EPOCHS } from '../../src/core/jobs/job.reader.ts';
import { TRANSITIONS } from '../../src/core/jobs/job-state.ts';
import { isFinal, type JobState } from '../../src/proof/contract/job-states.ts';
import { text } from '../../src/ground/redis/reply.ts';
import { ASK_CANCEL } from '../../src/core/jobs/lua-parts.ts';
import { loadScript } from '../../src/ground/redis/script.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import { readTicket } from '../../src/proof/receipts/statements.ts';
import type { Claim } from '../../src/core/execution/claims.ts';
import { admissionTo } from '../support/admission.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { completion, until } from '../support/pipeline.ts';
import { TestRedis } from '../support/redis.ts';
import { newKey } from '../support/sample-receipts.ts';
import { startSequencer } from '../support/sequencer.ts';
import { IS_WHOLE } from '../support/thorough.ts';
import { parse } from '../../src/roles/api/parse.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';

/** What was known of the length of its jobs. */
const size: JobSize = { task: 'completion', maxTokens: 1, inputBytes: 1 };
const CANCEL = loadScript(new URL('../../src/core/jobs/lua/cancel.lua', import.meta.url), text, {
  included: [ASK_CANCEL],
});

const MOVES = [
  'claim',
  'claim-other',
  'claim-ready',
  'begin',
  'begin-other',
  'commit',
  'commit-old',
  'release',
  'void',
  'confirm',
  'refute',
  'cancel',
  'expire',
  'lose',
  'crash',
] as const;
type Move = (typeof MOVES)[number];

/** Ends are rarer than steps, so that most walks get somewhere before one comes. */
const END_MOVES: readonly Move[] = ['cancel', 'expire'];
const aMove = fc.oneof(
  ...MOVES.map((move) => ({
    arbitrary: fc.constant(move),
    weight: END_MOVES.includes(move) ? 1 : move === 'claim' || move === 'commit' ? 6 : 3,
  })),
);

/**
 * The set in which a job of each state stands, besides `open`; one that has ended stands nowhere. A queued
 * job that a worker holds ready stands in `leases` and `ready`.
 */
const PLACES: Record<JobState, string[]> = {
  queued: ['waiting'],
  running: ['leases', 'running'],
  attesting: ['confirmations'],
  done: [],
  rejected: [],
  failed: [],
  cancelled: [],
  expired: [],
};

function bench(server: TestRedis) {
  const api = server.client('api');
  const attestor = server.client('attestor');
  const { keys } = server;
  const workers = [1, 2].map(() => new HandWorker(server.client('worker.default'), keys, newKey()));
  const schedules = new Schedules(attestor, keys);
  /** Where a job stands once somebody has looked: in how many sets of each kind. */
  const placeOf = async (id: string) => {
    await schedules.place([{ id, epoch: 1 }]);
    await schedules.place([{ id, epoch: 0 }]);
    const queue = 'default.noop';
    const sets = {
      waiting: [keys.backlog(queue), keys.released(queue), keys.later(queue)],
      leases: [keys.leases(queue)],
      ready: [keys.ready(queue)],
      running: [keys.running(SUBMITTER.tenant)],
      confirmations: [keys.confirmations],
    };
    const places = await Promise.all(
      Object.entries(sets).flatMap(([name, all]) =>
        all.map(async (set) => ((await attestor.zscore(set, id)) === null ? [] : [name])),
      ),
    );
    return places.flat();
  };
  const verdict = signPayload(newKey(), Buffer.from('{}'));
  return {
    api,
    attestor,
    keys,
    workers,
    admission: admissionTo(server),
    verdict,
    placeOf,
    rulings: new Rulings(attestor, keys, backlogOf(attestor, keys)),
    reader: new JobReader(api, keys, keys.open),
  };
}

describe('the moves of a job', () => {
  test('only the moves of the table happen, epochs only grow, at most one end, an old epoch is always refused, and each job stands in the set of what can happen to it next', async () => {
    await using server = await TestRedis.start();
    const { api, attestor, keys, workers, admission, verdict, rulings, reader, placeOf } = bench(server);
    const sequencer = startSequencer(server, attestor, newKey());
    const seen = new Map<string, number>();
    let walks = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(aMove, { minLength: 1, maxLength: 25 }),
        async (attempts, moves) => {
          // Every other one is not to begin yet: a hostile worker claims it all the same.
          const isLater = (walks += 1) % 2 === 0;
          const times = isLater ? { not_before: new Date(Date.now() + 3_600_000).toISOString() } : {};
          const { id } = await admission.submit(SUBMITTER, parse(SubmitJob, completion('x', { attempts, ...times })));
          let claims: Claim[] = [];
          let state: JobState = 'queued';
          let epoch = 0;
          let finals = 0;
          for (const move of moves) {
            const claim = claims.at(-1);
            const stale = claims.at(-2);
            let fenced = true;
            switch (move) {
              case 'claim':
              case 'claim-other': {
                const worker = workers[move === 'claim' ? 0 : 1];
                const reply = await worker?.tryClaim(id);
                if (reply?.kind === 'ok') claims.push(reply.claim);
                break;
              }
              case 'claim-ready': {
                const reply = await workers[0]?.claims.claim(id, randomBytes(8).toString('hex'), false);
                if (reply?.kind === 'ok') claims.push(reply.claim);
                break;
              }
              case 'begin':
                if (claim) await Promise.all(workers.map((worker) => worker.claims.begin(claim)));
                break;
              case 'begin-other':
                // Another worker of the pool reads the token and says that the engine began.
                if (claim)
                  await workers[1]?.redis.hsetnx(keys.claims(id), `b${claim.epoch}`, `${claim.token} ${Date.now()}`);
                break;
              case 'commit':
                if (claim) await Promise.any(workers.map((worker) => worker.commit(claim)));
                break;
              case 'commit-old':
                if (stale) for (const worker of workers) fenced &&= (await worker.commit(stale)) !== 'ok';
                break;
              case 'release':
                if (claim) await apply({ phases: ['ready', 'running'], action: { kind: 'close', why: 'released' } });
                break;
              case 'void':
                if (claim)
                  await apply({ phases: ['ready', 'running', 'attesting'], action: { kind: 'close', why: 'void' } });
                break;
              case 'confirm': {
                const [file] = await readCases(attestor, keys, [{ id }]);
                if (file !== undefined) await confirm(file);
                break;
              }
              case 'refute':
                await apply({ phases: ['attesting'], action: { kind: 'close', why: 'refuted' } });
                break;
              case 'cancel':
                await apply({ phases: ['queued', 'ready', 'attesting'], action: { kind: 'end', state: 'cancelled' } });
                break;
              case 'expire':
                await apply({
                  phases: ['queued', 'ready', 'running', 'attesting'],
                  action: { kind: 'end', state: 'expired' },
                });
                break;
              case 'lose':
                await server.client().del(keys.lease(id));
                await apply({ phases: ['ready', 'running'], action: { kind: 'lost' } });
                break;
              case 'crash':
                // A process that dies forgets what it held; the documents do not.
                claims = [];
            }
            expect(fenced).toBe(true);
            const view = await reader.read(id);
            if (view === undefined) throw new Error('the job is gone');
            if (view.state !== state) {
              const path: string = `${state} → ${view.state}`;
              seen.set(path, (seen.get(path) ?? 0) + 1);
              // One call can lose a job's last attempt and end it, and evidence says that its engine began;
              // each step of that stands in the table.
              const from = state === 'queued' && view.state === 'attesting' ? 'running' : state;
              expect(TRANSITIONS[from] as readonly JobState[]).toContain(view.state);
              if (isFinal(view.state)) finals += 1;
            }
            expect(view.attempts.length).toBeGreaterThanOrEqual(epoch);
            expect(view.attempts.length - epoch).toBeLessThanOrEqual(1);
            expect(view.attempts.filter(({ closed }) => closed?.why !== 'void').length).toBeLessThanOrEqual(attempts);
            expect(view.attempts.length).toBeLessThanOrEqual(MAX_EPOCHS);
            expect(finals).toBeLessThanOrEqual(1);
            if (view.state !== 'done')
              expect((await attestor.zscore(keys.open, id)) === null).toBe(isFinal(view.state));
            const current = view.attempts.at(-1);
            const isReady = view.state === 'queued' && current !== undefined && current.closed === undefined;
            const places = isReady ? ['leases', 'ready'] : PLACES[view.state];
            expect([move, state, view.state, await placeOf(id)]).toEqual([move, state, view.state, places]);
            const isEarly = (await attestor.zscore(keys.later('default.noop'), id)) !== null;
            expect([move, isEarly]).toEqual([move, isLater && places[0] === 'waiting']);
            const due = await attestor.zrange(keys.dueTurns('default.noop'), '0', '-1');
            expect([move, due.some((turn) => turn.endsWith(` ${id}`))]).toEqual([move, isEarly]);
            state = view.state;
            epoch = view.attempts.length;
          }

          /** Also where the attempt cannot be confirmed any more: then it must not be. */
          async function confirm(file: CaseFile): Promise<void> {
            const { signed: ticket } = readTicket(file.id, file.ticket);
            const [index] = await sequencer.place([
              { file, ticket, evidence: verdict, verdict, output: undefined, tookMs: 1, size },
            ]);
            if (index === undefined) return;
            await until(async () => Number(await attestor.hget(keys.log, 'size')) > index);
          }

          async function apply(part: Pick<Ruling, 'phases' | 'action'>): Promise<void> {
            await rulings.apply([
              { id, epoch: (await reader.read(id))?.attempts.length ?? 0, code: 'test', detail: 'test', ...part },
            ]);
          }
        },
      ),
      {
        numRuns: IS_WHOLE ? 250 : 80,
        // The rarer ways, so that every run of this test goes them.
        examples: [
          [1, ['claim', 'commit', 'refute']],
          [2, ['claim', 'commit', 'refute', 'claim', 'commit', 'confirm']],
          [1, ['claim', 'release']],
          [2, ['claim', 'lose', 'claim', 'expire']],
          [1, ['claim-ready', 'lose', 'claim-ready', 'begin', 'lose']],
          [1, ['claim-ready', 'begin-other', 'lose', 'claim-ready', 'begin', 'commit', 'confirm']],
          [1, ['claim-ready', 'cancel']],
          [1, ['claim-ready', 'commit', 'confirm']],
          [1, ['cancel']],
          [1, ['claim', 'void', 'claim', 'commit', 'void', 'claim', 'commit', 'confirm']],
          [1, Array.from({ length: 13 }, () => ['claim', 'void'] as const).flat()],
        ],
      },
    );
    // A walk that never got anywhere would prove nothing.
    for (const path of [
      'queued → running',
      'running → attesting',
      'attesting → done',
      'attesting → rejected',
      'attesting → queued',
      'running → queued',
      'running → failed',
      'queued → cancelled',
      'running → expired',
    ]) {
      expect([path, seen.get(path) ?? 0]).not.toEqual([path, 0]);
    }
    await sequencer.stop();
    api.disconnect();
  });

  test('who is barred claims nothing, and what it held when that was written, and lost, is not counted', async () => {
    await using server = await TestRedis.start();
    const { keys, attestor, workers, admission, reader, rulings } = bench(server);
    const [barred, other] = workers;
    if (!barred || !other) throw new Error('no worker');
    const { id } = await admission.submit(SUBMITTER, parse(SubmitJob, completion('x', { attempts: 1 })));
    await barred.claim(id);
    await attestor.hset(keys.barred('default'), barred.id, 'WORKER_SUSPENDED');
    await expect(barred.redis.hdel(keys.barred('default'), barred.id)).rejects.toThrow('NOPERM');
    await server.client().del(keys.lease(id));
    const lost = { id, epoch: 1, phases: ['running'], action: { kind: 'lost' }, code: 'test', detail: '' } as const;
    expect(await rulings.apply([lost])).toEqual([{ kind: 'requeued' }]);
    expect((await reader.read(id))?.attempts.map(({ closed }) => closed?.why)).toEqual(['void']);
    expect(await barred.tryClaim(id)).toMatchObject({ kind: 'later', why: 'barred' });
    await attestor.hdel(keys.barred('default'), barred.id);
    expect(await barred.tryClaim(id)).toMatchObject({ kind: 'ok' });
  });

  test('whoever lets go of a job, in whatever way, stands back for a while where others are there, and is not kept from it for ever', async () => {
    await using server = await TestRedis.start();
    const { keys, attestor, workers, admission, rulings } = bench(server);
    const [hoarder, other] = workers;
    if (!hoarder || !other) throw new Error('no worker');
    const [admin, pool] = [server.client(), keys.workers('default')];
    const letGo = async (why: 'lost' | 'released' | 'void', begins: boolean) => {
      const { id } = await admission.submit(SUBMITTER, parse(SubmitJob, completion(why, { attempts: 9 })));
      await hoarder.claims.claim(id, 'a'.repeat(16), begins);
      await admin.del(keys.lease(id));
      const action = why === 'lost' ? ({ kind: 'lost' } as const) : ({ kind: 'close', why } as const);
      const phases = ['ready', 'running'] as const;
      expect(await rulings.apply([{ id, epoch: 1, phases, action, code: 'test', detail: '' }])).toEqual([
        { kind: 'requeued' },
      ]);
      return id;
    };
    const ways = [
      ['lost', true],
      ['lost', false],
      ['released', true],
      ['void', false],
    ] as const;
    const kindOf = async (worker: HandWorker, id: string) => (await worker.tryClaim(id)).kind;
    for (const [why, begins] of ways) {
      // Nobody else is there: it is tried again at once. Who says nothing of itself is there all the same.
      await admin.del(pool);
      await admin.zadd(pool, Date.now() - 120_000, other.id, Date.now(), hoarder.id);
      expect([why, await kindOf(hoarder, await letGo(why, begins))]).toEqual([why, 'ok']);
      await admin.zadd(pool, Date.now(), other.id);
      for (const says of [true, false]) {
        if (!says) await admin.zrem(pool, hoarder.id);
        const id = await letGo(why, begins);
        expect(await hoarder.tryClaim(id)).toMatchObject({ kind: 'later', why: 'excluded' });
        expect([why, says, await kindOf(other, id)]).toEqual([why, says, 'ok']);
      }
      const id = await letGo(why, begins);
      await attestor.hset(keys.ruling(id), 'x1', `void ${hoarder.id} ${Date.now() - 60_000} `);
      expect([why, await kindOf(hoarder, id)]).toEqual([why, 'ok']);
      // A second time it is longer. A claim that had no turn is nobody's, whoever is named in it.
      await attestor.hset(keys.ruling(id), 'x2', `lost ${hoarder.id} ${Date.now() - 8_000} `);
      expect([why, await kindOf(hoarder, id)]).toEqual([why, 'later']);
      await attestor.hset(keys.ruling(id), 'x2', `void ${hoarder.id} ${Date.now()} CLAIMED_TOO_EARLY`);
      expect([why, await kindOf(hoarder, id)]).toEqual([why, 'ok']);
    }
    // A list of workers that somebody has spoilt keeps nobody from a job.
    const id = await letGo('lost', true);
    await admin.set(pool, 'garbage');
    expect(await kindOf(hoarder, id)).toBe('ok');
  });

  test('a reply that was lost doubles nothing: admit, claim and commit answer the same when they are sent again', async () => {
    await using server = await TestRedis.start();
    const { keys, workers, admission, reader } = bench(server);
    const [worker] = workers;
    if (!worker) throw new Error('no worker');
    const body = parse(SubmitJob, completion('again'));
    const { id } = await admission.submit(SUBMITTER, body, { idempotencyKey: 'key' });
    expect((await admission.submit(SUBMITTER, body, { idempotencyKey: 'key' })).id).toBe(id);
    const [first, second] = [await worker.claims.claim(id, 'token'), await worker.claims.claim(id, 'token')];
    expect(first).toEqual(second);
    if (first.kind !== 'ok') throw new Error('not claimed');
    expect(await worker.claims.claim(id, 'another delivery')).toMatchObject({ kind: 'later', why: 'held' });
    const output = worker.honestOutput(first.claim);
    const signed = worker.sign(worker.evidence(first.claim, output));
    expect(
      await Promise.all([
        worker.claims.commitEvidence(first.claim, signed, output),
        worker.claims.commitEvidence(first.claim, signed, output),
      ]),
    ).toEqual(['ok', 'ok']);
    const told = (await server.client().xrange(keys.attest('default'), '-', '+')).flatMap(([, [, jobs = '']]) =>
      jobs.split(' '),
    );
    expect(told.filter((word) => word.startsWith(`e:${id}:`))).toHaveLength(1);
    expect((await reader.read(id))?.attempts).toHaveLength(1);
    expect(workerIdOf(worker.signingKey.public)).toBe(worker.id);
  });

  test('a batch of rulings ends each job once, also one that stands in it twice; once a verdict has its place in the log, no claim, closing, wish or deadline undoes it', async () => {
    await using server = await TestRedis.start();
    const { api, keys, workers, admission, attestor, reader, rulings, verdict } = bench(server);
    const logKey = newKey();
    const sequencer = startSequencer(server, attestor, logKey);
    const [worker] = workers;
    if (!worker) throw new Error('no worker');
    const ids = await Promise.all(
      ['done', 'cancelled', 'logged'].map(
        async (name) => (await admission.submit(SUBMITTER, parse(SubmitJob, completion(name)))).id,
      ),
    );
    const [done = '', cancelled = '', logged = ''] = ids;
    for (const id of [done, logged]) await worker.commit(await worker.claim(id));
    const files = await readCases(attestor, keys, [{ id: done }, { id: logged }]);
    await sequencer.stop();
    await sequencer.place(
      files.flatMap((file) => {
        if (file === undefined) return [];
        const { signed: ticket } = readTicket(file.id, file.ticket);
        return [{ file, ticket, evidence: verdict, verdict, output: undefined, tookMs: 1, size }];
      }),
    );
    expect(await worker.redis.hsetnx(keys.claims(done), 'e2', `${worker.id} token ${Date.now()}`)).toBe(1);

    const ruling = (id: string, epoch: number, phase: Ruling['phases'][number], action: Ruling['action']): Ruling => ({
      id,
      epoch,
      phases: [phase],
      action,
      code: 'test',
      detail: 'test',
    });
    const cancel = ruling(cancelled, 0, 'queued', { kind: 'end', state: 'cancelled' });
    const refute = ruling(logged, 1, 'attesting', { kind: 'close', why: 'refuted' });
    const expire = ruling(logged, 1, 'attesting', { kind: 'end', state: 'expired' });
    expect(await CANCEL.run(api, [keys.ticket(logged), keys.cancels], [keys.prefix, logged, 100, 1_000])).toBe(
      'logged',
    );
    expect((await rulings.apply([cancel, refute, cancel, expire])).map(({ kind }) => kind)).toEqual([
      'ended',
      'logged',
      'already',
      'logged',
    ]);
    const states = async () => (await Promise.all(ids.map((id) => reader.read(id)))).map((view) => view?.state);
    expect(await states()).toEqual(['attesting', 'cancelled', 'attesting']);
    const publisher = startSequencer(server, attestor, logKey);
    await until(async () => (await attestor.hget(keys.log, 'size')) === '2');
    expect(await states()).toEqual(['done', 'cancelled', 'done']);
    await publisher.stop();

    // Sealed, they are read from their records, and nothing of them is open.
    const inputs = new JobInputs({ redis: api, keys, reader, blobs: new BlobFolders(server.folder) });
    const asked = (await inputs.of(cancelled))?.toString('utf8');
    expect(JSON.parse(asked ?? '')).toEqual({ prompt: 'cancelled' });
    const sealer = new Sealer({ redis: attestor, keys, keepJobs: 100, logger: createLogger('test', 'error') });
    sealer.start();
    await until(async () => (await attestor.zcard(keys.unsealed)) === 0);
    await sealer.stop();
    expect(await states()).toEqual(['done', 'cancelled', 'done']);
    expect((await reader.read(cancelled))?.ending).toMatchObject({ code: 'test', epoch: 0 });
    expect((await inputs.of(cancelled))?.toString('utf8')).toBe(asked);
    expect((await rulings.apply([cancel, refute, expire])).map(({ kind }) => kind)).toEqual([
      'missing',
      'missing',
      'missing',
    ]);
    for (const id of ids)
      expect(
        await attestor.exists(keys.ticket(id), keys.claims(id), keys.evidence(id), keys.ruling(id), keys.job(id)),
      ).toBe(0);
    expect(await api.zcard(keys.openOf('acme'))).toBe(0);
    expect(new Set(await attestor.zrange(keys.ended, '0', '-1'))).toEqual(new Set(ids));
    expect(await attestor.zrange(keys.open, '0', '-1')).toEqual([]);
  });
});
