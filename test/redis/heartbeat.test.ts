import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { parse } from '../../src/roles/api/parse.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { readCases } from '../../src/core/confirmation/case-file.ts';
import { Rulings } from '../../src/core/confirmation/rulings.ts';
import { backlogOf } from '../support/queues.ts';
import { writeSecretFile } from '../../src/ground/keys/key-file.ts';
import { generateSigningKeyPem, signingKeyFromPem } from '../../src/ground/keys/signing-key.ts';
import { SUBMITTER } from '../support/submitter.ts';
import { JobReader } from '../../src/core/jobs/job.reader.ts';
import { signPayload } from '../../src/proof/receipts/dsse.ts';
import { readTicket } from '../../src/proof/receipts/statements.ts';
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
    mostHeld: 4,
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
  test('confirm one attempt: it has one place in the log and one verdict, whoever gave it', async () => {
    await using server = await TestRedis.start();
    const { heartbeat, worker, claim, id, keys, attestor } = await aHeldJob(server, 60_000);
    await worker.commit(claim);
    const logKey = newKey();
    const places = await Promise.all(
      [attestor, server.client('attestor')].map(async (redis) => {
        const sequencer = startSequencer(server, redis, logKey);
        const [file] = await readCases(redis, keys, [{ id }]);
        if (file === undefined) throw new Error('there is no case');
        const signed = signPayload(newKey(), Buffer.from('{}'));
        const { signed: ticket } = readTicket(id, file.ticket);
        const [index] = await sequencer.place([
          {
            file,
            ticket,
            evidence: signed,
            verdict: signed,
            output: undefined,
            tookMs: 1,
            size: { task: 'completion', maxTokens: 1, inputBytes: 1 },
          },
        ]);
        await until(async () => (await redis.hget(keys.log, 'size')) === '1');
        await sequencer.stop();
        return index;
      }),
    );
    expect(places).toEqual([0, 0]);
    expect((await new JobReader(attestor, keys, keys.open).read(id))?.state).toBe('done');
    expect(await attestor.zcard(keys.unsealed)).toBe(1);
    await heartbeat.stop();
  });
});
