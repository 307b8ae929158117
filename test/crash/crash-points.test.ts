import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { isErased } from '../../src/core/jobs/erased-record.ts';
import { recordHead } from '../../src/core/jobs/job-record.ts';
import { CRASH_POINTS, type CrashPoint } from '../../src/ground/faults/crash-point.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { recordsIn } from '../support/canary.ts';
import { IS_WHOLE, sampleOf } from '../support/thorough.ts';
import { Pipeline, SHORT_LEASE, completion, until, type Client } from '../support/pipeline.ts';

const JOBS = 12;
/** Where an attestor is killed over an erasure. */
const ERASING: readonly CrashPoint[] = [
  'attestor.after-mark',
  'attestor.after-erase-archive',
  'attestor.before-erase',
  'attestor.after-erase',
];

type Victim = 'api' | 'worker' | 'attestor';

/** The courier's are where batches, webhooks and the books are tested: jobs do not wait for it. */
const pointsOf = (...victims: readonly Victim[]) =>
  CRASH_POINTS.flatMap((point) =>
    victims.filter((victim) => point.startsWith(`${victim}.`)).map((victim) => [victim, point] as const),
  );

/**
 * Much is waiting: for leases, and for the sweep to look. So they run side by side, each lane with processes
 * of its own; but few lanes, since to start those takes as long. Each run draws every third point anew, or
 * every eleventh where it is short, and the long tests take all.
 */
const ATTESTOR = pointsOf('attestor');
const LANES: readonly (readonly [string, readonly (readonly [Victim, CrashPoint])[]])[] = IS_WHOLE
  ? [
      [
        'attestor, one half',
        sampleOf(
          ATTESTOR.filter((_, at) => at % 2 === 0),
          3,
        ),
      ],
      [
        'attestor, the other',
        sampleOf(
          ATTESTOR.filter((_, at) => at % 2 === 1),
          3,
        ),
      ],
      ['worker and api', sampleOf(pointsOf('worker', 'api'), 3)],
    ]
  : [['all roles', sampleOf(pointsOf('attestor', 'worker', 'api'), 11)]];

/** One process is killed at this place while jobs come in; all others go on, and another takes its part. */
async function survive(pipeline: Pipeline, client: Client, victim: Victim, point: CrashPoint): Promise<void> {
  const admin = pipeline.redis.client();
  const { keys } = pipeline.redis;
  const erased = ERASING.includes(point) ? (await client.run(completion(`${point} erased`))).id : undefined;
  await until(async () => (await admin.zcard(keys.unsealed)) === 0);
  const before = await admin.zcard(keys.ended);
  await pipeline.kill(victim);
  // The first time: under load all jobs can come in one batch, and there is no second.
  const wish = { COUNTERSIGN_CRASH_AT: `${point}:1` };
  const start = {
    api: (env = {}) => pipeline.api(env),
    worker: (env?: object) => (env === undefined ? pipeline.worker(2) : pipeline.worker(1, { ...SHORT_LEASE, ...env })),
    attestor: (env = {}) => pipeline.attestor(env),
  }[victim];
  // An attestor finds what its predecessor left before it says that it is ready, and can be killed over it.
  const end = start(wish).then(({ exited }) => exited, endBeforeReady);
  await Promise.race([end, until(() => pipeline.running().some(({ name }) => name.startsWith(victim)))]);
  client.url = pipeline.url;

  const extra: string[] = [];
  // Each with a key of its own, as a careful client sends them: what got no answer is sent again.
  const send = (index: number) =>
    client.submit(completion(`${point} ${index}`), { 'idempotency-key': `"${point}-${index}"` });
  if (['attestor.before-requeue', 'attestor.after-rule'].includes(point)) {
    // A confirmation needs no ruling: there is one to be killed in only where a worker gives a job back.
    const workers = pipeline.running().filter(({ name }) => name.startsWith('worker'));
    await pipeline.freeze(...workers);
    const job = await send(100);
    extra.push(job.id);
    const hand = pipeline.hand(3);
    await hand.release(await hand.claim(job.id), 'engine_error');
    for (const { process } of workers) process.kill('SIGCONT');
  }
  if (erased !== undefined) await client.fetch(`/v1/jobs/${erased}`, { method: 'DELETE' });
  const first = await Promise.allSettled(Array.from({ length: JOBS }, (_, index) => send(index)));
  expect(await end).toBe('SIGKILL');
  await start();
  client.url = pipeline.url;

  const jobs = await Promise.all(
    Array.from({ length: JOBS }, (_, index) => until(() => send(index).catch(() => undefined))),
  );
  first.forEach((outcome, index) => {
    if (outcome.status === 'fulfilled') expect(jobs[index]?.id).toBe(outcome.value.id);
  });
  for (const id of [...jobs.map((job) => job.id), ...extra]) {
    const job = await client.ended(id);
    expect(job.state).toBe('done');
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
  }
  if (erased !== undefined) await expectErased(pipeline, client, erased);
  await until(async () => (await admin.zcard(keys.unsealed)) === 0);
  expect(await admin.zcard(keys.open)).toBe(0);
  expect(await admin.zcard(keys.ended)).toBe(before + JOBS + extra.length);
}

/** What the attestor was killed over is brought to its end by the next. */
async function expectErased(pipeline: Pipeline, client: Client, id: string): Promise<void> {
  const [admin, { keys }] = [pipeline.redis.client(), pipeline.redis];
  expect((await client.fetch(`/v1/jobs/${id}/output`)).status).toBe(410);
  await until(async () => (await admin.zcard(keys.erasures)) === 0);
  const record = (await admin.getBuffer(keys.record(id))) ?? Buffer.alloc(0);
  const { index } = recordHead(record);
  const filed = recordsIn(join(pipeline.folder, 'log', 'archive')).filter((one) => one.index === index);
  expect(filed.length).toBeGreaterThan(0);
  for (const one of [record, ...filed.map((file) => file.record)]) expect(isErased(one)).toBe(true);
}

/** How a role ended that was not ready yet; any other failure of its start is thrown on. */
function endBeforeReady(failure: unknown): string {
  const [, signal] = /ended with (SIG[A-Z]+)/.exec(String(failure)) ?? [];
  if (signal === undefined) throw failure;
  return signal;
}

describe('a process that is killed at a named place', () => {
  test.concurrent.each(LANES)(
    '%s at %p: every accepted job is done once and its receipt verifies',
    async (_, points) => {
      await using pipeline = await Pipeline.start({ workers: 1 });
      const client = await pipeline.client();
      const [admin, { keys }] = [pipeline.redis.client(), pipeline.redis];
      // What an attestor logs when it starts is logged already: it is killed over verdicts, and not before it
      // is ready.
      await until(async () => (await admin.hget(keys.log, 'size')) === String(await admin.hlen(keys.logDocuments)));
      expect(points.length).toBeGreaterThan(0);
      for (const [victim, point] of points)
        await survive(pipeline, client, victim, point).catch((cause: unknown) => {
          throw new Error(`killed at ${point}: ${String(cause)}`, { cause });
        });
    },
  );
});

describe('a worker that pauses past its lease', () => {
  test('is a zombie when it comes back: another has finished, its commit is refused, and the job is done once', async () => {
    await using pipeline = await Pipeline.prepare();
    await Promise.all([pipeline.api(), pipeline.attestor()]);
    const client = await pipeline.client();
    // Stopped by SIGSTOP between its engine's last word and its commit, while the job is in its hands.
    const zombie = await pipeline.worker(1, { ...SHORT_LEASE, COUNTERSIGN_CRASH_AT: 'worker.after-run:1:SIGSTOP' });
    const job = await client.submit(completion('paused'));
    const state = () => readFileSync(`/proc/${zombie.process.pid ?? 0}/stat`, 'utf8').split(') ')[1]?.[0];
    await until(() => state() === 'T');
    await pipeline.worker(2);
    const done = await client.ended(job.id);
    expect([done.state, done.attempts.length, done.attempts[0]?.closed?.why]).toEqual(['done', 2, 'lost']);
    zombie.process.kill('SIGCONT');
    await until(() => /"reply":"(final|fenced)"/.test(zombie.stderr()));
    expect(await client.job(job.id)).toEqual(done);
    // It is none any more: the next jobs find it at work.
    const next = await Promise.all(
      Array.from({ length: 20 }, (_, index) => client.submit(completion(`next ${index}`))),
    );
    for (const { id } of next) expect((await client.ended(id)).state).toBe('done');
  });
});
