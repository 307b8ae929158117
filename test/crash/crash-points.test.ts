import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { CRASH_POINTS } from '../../src/faults/crash-point.ts';
import { verifyReceipt } from '../../src/receipts/receipt.ts';
import { Pipeline, SHORT_LEASE, completion, until } from '../support/pipeline.ts';

const JOBS = 12;

/** The courier's are where batches, webhooks and the books are tested: jobs do not wait for it. */
const POINTS = CRASH_POINTS.filter((point) => !point.startsWith('courier.'));

describe('a process that is killed at a named place', () => {
  // Mostly waiting: for leases, and for the sweep to look. Three at a time.
  test.concurrent.each(POINTS)('%s: every accepted job is done once and its receipt verifies', async (point) => {
    await using pipeline = await Pipeline.prepare();
    const role = point.split('.')[0] ?? '';
    // The first time: under load all jobs can come in one batch, and there is no second.
    const doomed = { [`${role}:COUNTERSIGN_CRASH_AT`]: `${point}:1` };
    if (role === 'attestor') {
      // What an attestor logs when it starts is logged already: it is killed over verdicts, and not before it is ready.
      const before = await pipeline.attestor();
      const [admin, { keys }] = [pipeline.redis.client(), pipeline.redis];
      await until(async () => (await admin.hget(keys.log, 'size')) === String(await admin.hlen(keys.logDocuments)));
      before.process.kill('SIGKILL');
      await before.exited;
    }
    const [api, worker, attestor] = await Promise.all([
      pipeline.api(doomed),
      pipeline.worker(1, role === 'worker' ? { ...SHORT_LEASE, ...doomed } : doomed),
      pipeline.attestor(doomed),
    ]);
    const client = await pipeline.client();

    const extra: string[] = [];
    // Each with a key of its own, as a careful client sends them: what got no answer is sent again.
    const send = (index: number) => client.submit(completion(`${index}`), { 'idempotency-key': `"crash-${index}"` });
    if (point === 'attestor.before-requeue') {
      // A requeue is there to be killed in only where a worker gives a job back.
      const hand = pipeline.hand(3);
      worker.process.kill('SIGSTOP');
      const job = await send(100);
      extra.push(job.id);
      const claim = await hand.claim(job.id);
      await hand.release(claim, 'engine_error');
      worker.process.kill('SIGCONT');
    }
    const first = await Promise.allSettled(Array.from({ length: JOBS }, (_, index) => send(index)));
    const dead = await { api, worker, attestor }[role as 'api' | 'worker' | 'attestor'].exited;
    expect(dead).toBe('SIGKILL');
    if (role === 'api') await pipeline.api();
    if (role === 'worker') await pipeline.worker(2);
    if (role === 'attestor') await pipeline.attestor();
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
    expect(await pipeline.redis.client().zcard(pipeline.redis.keys.open)).toBe(0);
    expect(await pipeline.redis.client().zcard(pipeline.redis.keys.ended)).toBe(JOBS + extra.length);
  });
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
