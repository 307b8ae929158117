import { describe, expect, test } from '@jest/globals';
import { auditLog } from '../../src/proof/tlog/log-audit.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { Pipeline, SHORT_LEASE, completion, until, type Client, type Role } from '../support/pipeline.ts';

/** Sends jobs as careful clients do: with a key each, again and again until there is an answer. */
async function sendAll(pipeline: Pipeline, client: Client, jobs: number, name: string): Promise<string[]> {
  const ids: string[] = [];
  const lanes = Array.from({ length: 10 }, async (_, lane) => {
    for (let index = lane; index < jobs; index += 10) {
      const job = await until(async () => {
        client.url = pipeline.url;
        return client
          .submit(completion(`${name} ${index}`, { attempts: 10 }), { 'idempotency-key': `"${name}-${index}"` })
          .catch(() => undefined);
      }, 120_000);
      ids.push(job.id);
    }
  });
  await Promise.all(lanes);
  return ids;
}

/**
 * After the faults: every accepted job is done once, with a receipt that verifies, and nothing is left open.
 */
async function expectAllDone(pipeline: Pipeline, client: Client, ids: string[]): Promise<void> {
  client.url = pipeline.url;
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) {
    const job = await until(async () => {
      const view = await client.job(id, 30).catch(() => undefined);
      return view !== undefined && view.ended_at !== null && view;
    }, 120_000);
    expect([id, job.state, job.reason?.detail]).toEqual([id, 'done', 'The attestor confirmed the answer.']);
    verifyReceipt(await client.receipt(id), pipeline.keyring, { output: await client.output(id) });
  }
  const admin = pipeline.redis.client();
  await until(async () => (await admin.zcard(pipeline.redis.keys.open)) === 0);
  expect(await admin.zcard(pipeline.redis.keys.ended)).toBe(ids.length);
  // One log, whoever wrote it and died: sound from its first entry on, and every done job is in it.
  const source = (path: string) =>
    client
      .fetch(`/log/${path}`)
      .then(async (response) => (response.ok ? Buffer.from(await response.arrayBuffer()) : undefined));
  const report = await auditLog(source, pipeline.keyring.logPolicy, []);
  expect(report.size).toBeGreaterThanOrEqual(ids.length);
}

describe('faults under load', () => {
  // Workers that are killed or stopped past their lease, of which nobody should wait for long.
  const env = Object.fromEntries(Object.entries(SHORT_LEASE).map(([name, value]) => [`worker:${name}`, value]));

  test('workers, attestors and the api are killed at random for half a minute: nothing is lost, nothing done twice', async () => {
    await using pipeline = await Pipeline.start({ workers: 2, attestors: 2, env });
    const client = await pipeline.client();
    const victims: (() => Promise<Role>)[] = [
      () => pipeline.worker(1, SHORT_LEASE),
      () => pipeline.worker(2, SHORT_LEASE),
      () => pipeline.attestor(),
      () => pipeline.attestor(),
      () => pipeline.api(),
    ];
    const running = pipeline.running();
    const stop = new AbortController();
    const killer = (async () => {
      let kills = 0;
      while (!stop.signal.aborted) {
        const at = Math.floor(Math.random() * victims.length);
        running[at]?.process.kill('SIGKILL');
        const again = victims[at];
        if (again) running[at] = await again();
        kills += 1;
      }
      return kills;
    })();
    const ids = await sendAll(pipeline, client, 1_500, 'kill');
    stop.abort();
    expect(await killer).toBeGreaterThanOrEqual(3);
    await expectAllDone(pipeline, client, ids);
  }, 400_000);

  test('Redis is killed and restarted 20 times under load: what was answered 202 is done', async () => {
    await using pipeline = await Pipeline.start();
    const client = await pipeline.client();
    const stop = new AbortController();
    const killer = (async () => {
      let kills = 0;
      while (!stop.signal.aborted || kills < 20) {
        await pipeline.redis.kill();
        await pipeline.redis.restart();
        kills += 1;
        const next = performance.now() + 700;
        await until(() => Promise.resolve(performance.now() > next));
      }
      return kills;
    })();
    const ids = await sendAll(pipeline, client, 1_500, 'redis');
    stop.abort();
    expect(await killer).toBeGreaterThanOrEqual(20);
    await expectAllDone(pipeline, client, ids);
  }, 400_000);

  test('Redis is gone for 60 s: everything consumes again within 10 s of its return, and nothing is lost', async () => {
    await using pipeline = await Pipeline.start();
    const client = await pipeline.client();
    const before = await sendAll(pipeline, client, 200, 'before');
    await pipeline.redis.kill();
    const refused = await client.post('/v1/jobs', completion('meanwhile'));
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: 'storage_unavailable' });
    const back = performance.now() + 60_000;
    await until(() => Promise.resolve(performance.now() > back), 70_000);
    await pipeline.redis.restart();
    const returned = performance.now();
    const job = await until(
      () => client.submit(completion('after'), { prefer: 'wait=10' }).catch(() => undefined),
      15_000,
    );
    expect(job.state).toBe('done');
    expect(performance.now() - returned).toBeLessThan(10_000);
    await expectAllDone(pipeline, client, [...before, job.id]);
  }, 200_000);

  test('a worker that is stopped past its lease and woken again changes nothing that another has finished', async () => {
    await using pipeline = await Pipeline.start({ workers: 2, env });
    const client = await pipeline.client();
    const [first] = pipeline.running();
    if (first === undefined) throw new Error('no worker');
    const sending = sendAll(pipeline, client, 600, 'zombie');
    for (let round = 0; round < 3; round += 1) {
      first.process.kill('SIGSTOP');
      const wake = performance.now() + 4_000;
      await until(() => Promise.resolve(performance.now() > wake));
      first.process.kill('SIGCONT');
    }
    await expectAllDone(pipeline, client, await sending);
  }, 200_000);
});
