import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { parse } from '../../src/roles/api/parse.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { Rulings, type Ruling } from '../../src/core/confirmation/rulings.ts';
import { backlogOf } from '../support/queues.ts';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { generateSigningKeyPem, signingKeyFromPem } from '../../src/ground/keys/signing-key.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import type { Heartbeat } from '../../src/core/execution/heartbeat.ts';
import { admissionTo } from '../support/admission.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { completion, until } from '../support/pipeline.ts';
import { ROOT, TestRedis } from '../support/redis.ts';
import { startSequencer } from '../support/sequencer.ts';

/** Built, because the heartbeat runs in a thread that Node itself loads. */
const { Heartbeat: BuiltHeartbeat } = (await import(
  pathToFileURL(join(ROOT, 'dist', 'core', 'execution', 'heartbeat.js')).href
)) as { Heartbeat: typeof Heartbeat };

const newKey = () => signingKeyFromPem(generateSigningKeyPem());
const LEASE_MS = 1_500;
const HEARTBEAT_MS = 200;

/** Nothing of this process runs meanwhile, as under an engine that computes in JavaScript. */
function blockEventLoop(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

async function aHeldJob(server: TestRedis, stallMs: number) {
  const { keys } = server;
  const { id } = await admissionTo(server).submit(SUBMITTER, parse(SubmitJob, completion('x')));
  const worker = new HandWorker(server.client('worker.default'), keys, newKey());
  const lost: string[] = [];
  const keyFile = join(server.folder, 'worker.key');
  writeSecretFile(keyFile, generateSigningKeyPem());
  const heartbeat = new BuiltHeartbeat({
    access: server.access('worker.default'),
    shard: 'cs',
    pool: 'default',
    leaseMs: LEASE_MS,
    heartbeatMs: HEARTBEAT_MS,
    stallMs,
    logLevel: 'error',
    keyFile,
    worker: worker.id,
    parallel: 4,
  });
  heartbeat.listen({
    lost: (job) => lost.push(job),
    cancelled: () => undefined,
    died: (error) => lost.push(error.message),
  });
  const claim = await worker.claim(id);
  heartbeat.hold(claim);
  const attestor = server.client('attestor');
  const held = async () => (await attestor.exists(keys.lease(id))) === 1;
  /**
   * The thread must be at work before it is left alone. The claim holds far longer than any start of a
   * thread; once the thread renews it, it holds for the thread's own lease and no longer.
   */
  const renewed = () => until(async () => (await attestor.pttl(keys.lease(id))) <= LEASE_MS);
  return { id, keys, worker, heartbeat, claim, lost, held, renewed, attestor };
}

describe('the heartbeat', () => {
  test('keeps the lease of a busy engine that blocks the event loop for three leases', async () => {
    await using server = await TestRedis.start();
    const { heartbeat, held, renewed, lost, worker, claim } = await aHeldJob(server, 60_000);
    await renewed();
    blockEventLoop(3 * LEASE_MS);
    expect(await held()).toBe(true);
    expect(lost).toEqual([]);
    expect(await worker.commit(claim)).toBe('ok');
    await heartbeat.stop();
  });

  test('lets go of the jobs of a wedged worker: past the lock another may run them, and its own commit is refused', async () => {
    await using server = await TestRedis.start();
    const { heartbeat, held, renewed, lost, worker, claim, id, keys, attestor } = await aHeldJob(server, 500);
    await renewed();
    blockEventLoop(500 + 3 * LEASE_MS);
    expect(await held()).toBe(false);
    const rulings = new Rulings(attestor, keys, backlogOf(attestor, keys));
    const [ruled] = await rulings.apply([
      { id, epoch: 1, phases: ['running'], action: { kind: 'lost' }, code: 'attempts_exhausted', detail: 'lost' },
    ]);
    expect(ruled).toEqual({ kind: 'requeued' });
    expect(await worker.commit(claim)).toBe('fenced');
    await until(() => lost.includes(id));
    await heartbeat.stop();
  });
});

describe('two attestors at once', () => {
  test('confirm one attempt: exactly one ends it, the other is told that it was', async () => {
    await using server = await TestRedis.start();
    const { heartbeat, worker, claim, id, keys, attestor } = await aHeldJob(server, 60_000);
    await worker.commit(claim);
    const other = server.client('attestor');
    const ruling: Ruling = {
      id,
      epoch: 1,
      phases: ['attesting'],
      action: { kind: 'end', state: 'done' },
      code: 'confirmed',
      detail: 'confirmed',
    };
    const logKey = newKey();
    const replies = (
      await Promise.all(
        [attestor, other].map(async (redis) => {
          const sequencer = startSequencer(server, redis, logKey);
          const verdict = { signed: signPayload(newKey(), Buffer.from('{}')), field: 'f' };
          const [logSize = 0] = await sequencer.log([{ id, epoch: 1, field: 'f', verdict: verdict.signed }]);
          await sequencer.stop();
          return new Rulings(redis, keys, backlogOf(redis, keys)).apply([{ ...ruling, verdict, logSize }]);
        }),
      )
    ).flat();
    expect(replies.map((reply) => reply.kind).sort()).toEqual(['already', 'ended']);
    // One verdict stands in the log, whoever's it was.
    expect(await attestor.hget(keys.log, 'size')).toBe('1');
    await heartbeat.stop();
  });
});
