import { poolTag } from '../../src/ground/redis/keys.ts';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { generateSigningKeyPem, signingKeyFromPem, workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { encodeStored } from '../../src/proof/receipts/dsse.ts';
import { VERDICT_TYPE, type Evidence } from '../../src/proof/receipts/statements.ts';
import { announce, withdraw } from '../../src/core/catalog/announcement.ts';
import type { Claim } from '../../src/core/execution/claims.ts';
import { HandWorker } from '../support/hand-worker.ts';
import { Pipeline, completion, until, type Client } from '../support/pipeline.ts';

/** An api and an attestor, and a worker's full Redis credentials and key in hostile hands. */
let pipeline: Pipeline;
let client: Client;
let hostile: HandWorker;
let colleague: HandWorker;

beforeAll(async () => {
  pipeline = await Pipeline.prepare();
  await Promise.all([pipeline.api(), pipeline.attestor()]);
  client = await pipeline.client();
  hostile = pipeline.hand(1);
  colleague = pipeline.hand(2);
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const ONE_ATTEMPT = { attempts: 1 };

/** The job ends rejected for this reason, and nothing of it is served. */
async function expectRejected(id: string, reason: string): Promise<void> {
  const job = await client.ended(id);
  expect({ state: job.state, detail: job.reason?.detail }).toEqual({ state: 'rejected', detail: reason });
  expect((await client.fetch(`/v1/jobs/${id}/output`)).status).toBe(409);
  expect((await client.fetch(`/v1/jobs/${id}/receipt`)).status).toBe(409);
}

type Forgery = (worker: HandWorker, claim: Claim, evidence: Evidence) => { evidence: Evidence; output?: string };

const FORGERIES: readonly [name: string, reason: string, forge: Forgery][] = [
  [
    'a made-up answer',
    'RECOMPUTED_OUTPUT_DIFFERS',
    (worker, claim) => {
      const output = JSON.stringify({ text: 'trust me', finish_reason: 'stop' });
      return { evidence: worker.evidence(claim, output), output };
    },
  ],
  [
    'another ticket',
    'TICKET_MISMATCH',
    (_, __, evidence) => ({
      evidence: { ...evidence, predicate: { ...evidence.predicate, ticket: { sha256: sha256Hex('other') } } },
    }),
  ],
  [
    'another model digest',
    'MODEL_MISMATCH',
    (_, __, evidence) => ({
      evidence: {
        ...evidence,
        predicate: { ...evidence.predicate, model: { ...evidence.predicate.model, sha256: sha256Hex('smaller') } },
      },
    }),
  ],
  [
    'inflated usage',
    'USAGE_IMPOSSIBLE',
    (_, __, evidence) => ({
      evidence: { ...evidence, predicate: { ...evidence.predicate, usage: { inputTokens: 1, outputTokens: 100_000 } } },
    }),
  ],
  [
    'usage inflated within what is possible',
    'RECOMPUTED_USAGE_DIFFERS',
    (_, __, evidence) => ({
      evidence: { ...evidence, predicate: { ...evidence.predicate, usage: { inputTokens: 1, outputTokens: 40 } } },
    }),
  ],
  [
    "another worker's id",
    'WORKER_NOT_CLAIMANT',
    (_, __, evidence) => ({
      evidence: {
        ...evidence,
        predicate: {
          ...evidence.predicate,
          worker: { ...evidence.predicate.worker, id: 'w-00000000000000000000000000000000' },
        },
      },
    }),
  ],
  [
    'an end before its beginning',
    'TIMES_IMPOSSIBLE',
    (_, __, evidence) => ({
      evidence: { ...evidence, predicate: { ...evidence.predicate, finishedAt: '2020-01-01T00:00:00.000Z' } },
    }),
  ],
  [
    'an output that is not an answer',
    'OUTPUT_MALFORMED',
    (worker, claim) => ({ evidence: worker.evidence(claim, '[]'), output: '[]' }),
  ],
  [
    'an output nested 2,000 deep',
    'OUTPUT_MALFORMED',
    (worker, claim) => {
      const output = '['.repeat(2_000) + ']'.repeat(2_000);
      return { evidence: worker.evidence(claim, output), output };
    },
  ],
];

/** An id that never was. */
const STRANGE = `job_${poolTag('default')}${'0'.repeat(26)}`;

describe('a hostile worker with the full credentials and key of an enrolled worker', () => {
  test('cannot have a forgery confirmed, whichever part of the evidence it forges', async () => {
    for (const [name, reason, forge] of FORGERIES) {
      const job = await client.submit(completion(name, ONE_ATTEMPT));
      const claim = await hostile.claim(job.id);
      const honest = hostile.honestOutput(claim);
      const forged = forge(hostile, claim, hostile.evidence(claim, honest));
      expect(await hostile.claims.commitEvidence(claim, hostile.sign(forged.evidence), forged.output ?? honest)).toBe(
        'ok',
      );
      await expectRejected(job.id, reason);
    }
  });

  test('cannot sign as a colleague, nor with a key that nobody enrolled', async () => {
    const job = await client.submit(completion('as a colleague', ONE_ATTEMPT));
    const claim = await colleague.claim(job.id);
    const output = colleague.honestOutput(claim);
    await hostile.writeRaw(claim, encodeStored(hostile.sign(colleague.evidence(claim, output))), output);
    await colleague.commit(claim);
    expect((await client.ended(job.id)).state).toBe('done');

    const stranger = new HandWorker(hostile.redis, hostile.keys, signingKeyFromPem(generateSigningKeyPem()));
    const second = await client.submit(completion('as a stranger', ONE_ATTEMPT));
    await stranger.commit(await stranger.claim(second.id));
    // The stranger is nobody's fault: its attempt is not counted, and an enrolled worker answers.
    await until(async () => (await client.job(second.id)).attempts[0]?.closed?.why === 'void');
    await colleague.commit(await colleague.claim(second.id));
    const answered = await client.ended(second.id);
    expect([answered.state, answered.attempts[0]?.closed?.detail]).toEqual(['done', 'WORKER_UNKNOWN']);
  });

  test('cannot replay evidence: not that of the same job in an old epoch, nor that of another job', async () => {
    const first = await client.submit(completion('first'));
    const firstClaim = await hostile.claim(first.id);
    const output = hostile.honestOutput(firstClaim);
    const old = encodeStored(hostile.sign(hostile.evidence(firstClaim, output)));
    await hostile.release(firstClaim, 'engine_error');
    await until(async () => (await client.job(first.id)).attempts[0]?.closed?.why === 'released');
    const secondClaim = await hostile.claim(first.id);
    expect(secondClaim.epoch).toBe(2);
    expect(
      await hostile.claims.commitEvidence(firstClaim, hostile.sign(hostile.evidence(firstClaim, output)), output),
    ).toBe('fenced');
    await hostile.writeRaw(secondClaim, old, output);
    await hostile.commit(secondClaim);
    expect((await client.ended(first.id)).state).toBe('done');
  });

  test('is refused by Redis wherever it writes what is not its own, and the refusals stand in the ACL log', async () => {
    const admin = pipeline.redis.client();
    await admin.acl('LOG', 'RESET');
    const job = await client.submit(completion('guarded'));
    const claim = await hostile.claim(job.id);
    const { keys, redis } = hostile;
    const field = `1:${'0'.repeat(32)}`;
    await redis.hsetnx(keys.evidence(job.id), field, 'said once');
    const writes: Record<string, () => Promise<unknown>> = {
      'a forged verdict': () => redis.hset(keys.ruling(job.id), 'state', 'done', 'verdict', VERDICT_TYPE),
      'done, directly, from a script': () =>
        redis.eval(`return redis.call('HSET', '${keys.ruling(job.id)}', 'state', 'done')`, 0),
      'a changed ticket': () => redis.hset(keys.ticket(job.id), 'ticket', 'mine'),
      'a deleted ticket': () => redis.del(keys.ticket(job.id)),
      'evidence again': () => redis.hset(keys.evidence(job.id), field, 'said twice'),
      'evidence deleted': () => redis.hdel(keys.evidence(job.id), field),
      'evidence read': () => redis.hgetall(keys.evidence(job.id)),
      'a claim taken back': () => redis.hdel(keys.claims(job.id), 'e1'),
      'a claim replaced in a script': () =>
        redis.eval(`return redis.call('HSET', '${keys.claims(job.id)}', 'e1', 'x')`, 0),
      'the attestation stream deleted': () => redis.del(keys.attest('default')),
      'the attestation stream trimmed': () => redis.xtrim(keys.attest('default'), 'MAXLEN', 0),
      "the attestor's queue": () => redis.lpush(`${keys.attestorQueue}:attestation:wait`, 'x'),
      'the open jobs': () => redis.zrem(keys.open, job.id),
      'an end': () => redis.zadd(keys.ended, 1, job.id),
      'an API key': () => redis.hset(keys.apiKey('0'.repeat(16)), 'tenant', 'acme'),
      'an API key read': () => redis.hgetall(keys.apiKey('0'.repeat(16))),
      'a wish to cancel': () => redis.xadd(keys.cancels, '*', 'id', job.id),
      'all keys': () => redis.keys('*'),
      'the configuration': () => redis.config('GET', '*'),
      'the users': () => redis.acl('LIST'),
      'everything deleted': () => redis.flushall(),
    };
    for (const [name, write] of Object.entries(writes)) {
      const refused = await write().then(
        () => `${name} was accepted`,
        (error: unknown) => String(error),
      );
      // From a script the refusal is worded otherwise.
      expect(refused).toMatch(/NOPERM|no permissions|can't access/i);
    }
    expect(await admin.hget(keys.evidence(job.id), field)).toBe('said once');
    expect(JSON.stringify(await admin.acl('LOG', 100))).toContain('ruling:');
    expect(await hostile.commit(claim)).toBe('ok');
    expect((await client.ended(job.id)).state).toBe('done');
  });

  /** What stands where evidence is expected, and is none that the claimant signed for this attempt. */
  const GARBAGE: Record<string, (claim: Claim) => string | Buffer> = {
    'random bytes': () => Buffer.from([0xff, 0xfe, 0, 1, 2]),
    '20 MB': () => Buffer.alloc(20_000_000, 'a'),
    'nested 100,000 deep': () => Buffer.from(`${'0'.repeat(64)}.${'A'.repeat(86)}==.${'['.repeat(100_000)}`),
    NaN: () => encodeStored(hostile.sign(JSON.parse('{"predicate":{"usage":{"inputTokens":null}}}') as Evidence)),
    'two members of one name': () =>
      encodeStored({
        keyId: hostile.signingKey.public.id,
        signature: Buffer.alloc(64),
        payload: Buffer.from('{"a":1,"a":2}'),
      }),
    "the garbage writer's own evidence": (claim) => encodeStored(hostile.sign(hostile.evidence(claim, '{}'))),
    'evidence of the claimant for another job': (claim) =>
      encodeStored(colleague.sign(colleague.evidence({ ...claim, epoch: 9 }, colleague.honestOutput(claim)))),
    "the claimant's evidence, changed after signing": (claim) => {
      const signed = colleague.sign(colleague.evidence(claim, colleague.honestOutput(claim)));
      return encodeStored({
        ...signed,
        payload: Buffer.from(signed.payload.toString().replace('"epoch":1', '"epoch":2')),
      });
    },
  };

  test('cannot have others blamed: what the claimant did not sign is ignored, and its own commit counts', async () => {
    await Promise.all(
      Object.entries(GARBAGE).map(async ([name, garbage]) => {
        const job = await client.submit(completion(`garbage ${name}`, ONE_ATTEMPT));
        const claim = await colleague.claim(job.id);
        await hostile.writeRaw(claim, garbage(claim), '{"text":"forged","finish_reason":"stop"}');
        await colleague.commit(claim);
        const ended = await client.ended(job.id);
        expect([name, ended.state, ended.attempts.length]).toEqual([name, 'done', 1]);
        expect((await client.output(job.id)).toString()).toBe(colleague.honestOutput(claim));
      }),
    );
  });

  test('gains nothing by garbage of its own: the lease runs out, and the attempt is lost', async () => {
    const hasty = pipeline.hand(1, 1_500);
    await Promise.all(
      Object.entries(GARBAGE).map(async ([name, garbage]) => {
        const job = await client.submit(completion(`own garbage ${name}`, ONE_ATTEMPT));
        const claim = await hasty.claim(job.id);
        if (name !== "the garbage writer's own evidence") await hasty.writeRaw(claim, garbage(claim), '{}');
        const { state, reason } = await client.ended(job.id);
        expect([name, state, reason?.detail]).toEqual([name, 'failed', 'The worker that ran it was lost.']);
      }),
    );
  });

  test('whose output is gone, or never was what it signed, gets no verdict: another attempt, and nobody is blamed', async () => {
    for (const output of ['', JSON.stringify({ text: 'swapped', finish_reason: 'stop' })]) {
      const job = await client.submit(completion(`gone ${output.length}`));
      const claim = await hostile.claim(job.id);
      const evidence = hostile.sign(hostile.evidence(claim, hostile.honestOutput(claim)));
      expect(await hostile.claims.commitEvidence(claim, evidence, output)).toBe('ok');
      await until(async () => (await client.job(job.id)).attempts[0]?.closed?.why === 'released');
      await hostile.commit(await hostile.claim(job.id));
      expect((await client.ended(job.id)).state).toBe('done');
    }
  });

  test('cannot stop others with garbage in the stream', async () => {
    const { keys, redis } = hostile;
    // No single value that Redis takes from a client can be larger than this.
    await expect(redis.hsetnx(keys.evidence(STRANGE), 'x', Buffer.alloc(100_000_000))).rejects.toThrow();
    for (const fields of [
      ['jobs', ''],
      ['jobs', `e:${'x'.repeat(10_000)}:NaN`],
      ['jobs', `e:${STRANGE}:${'x'.repeat(20_000_000)}`],
      ['jobs', `z:${STRANGE}:../..`],
      ['jobs', ['0', '1', '9999'].map((epoch) => `e:${STRANGE}:${epoch}:${'0'.repeat(32)}`).join(' ')],
      ['jobs', `c:${STRANGE} r:${STRANGE}:1 c:${STRANGE}:1 x:${STRANGE} `.repeat(30)],
      ['constructor', '1', '__proto__', '2'],
    ])
      await pipeline.hand(1).redis.xadd(keys.attest('default'), '*', ...fields);
    const honest = await client.submit(completion('honest'));
    await colleague.commit(await colleague.claim(honest.id));
    expect((await client.ended(honest.id)).state).toBe('done');
  });

  test('cannot cancel what waits: wishes to cancel are not told by workers, nor by other pools', async () => {
    const { keys, redis } = hostile;
    const waiting = await client.submit(completion('waits'));
    for (const word of [`x:${waiting.id}`, `r:${waiting.id}:1:${'0'.repeat(32)}`, `c:${waiting.id}:1`])
      await redis.xadd(keys.attest('default'), '*', 'jobs', word);
    // What stands behind it in the stream is heard, so that this was as well.
    const next = await client.submit(completion('next'));
    await colleague.commit(await colleague.claim(next.id));
    expect((await client.ended(next.id)).state).toBe('done');
    expect((await client.job(waiting.id)).state).toBe('queued');
    await colleague.commit(await colleague.claim(waiting.id));
    expect((await client.ended(waiting.id)).state).toBe('done');
  });

  test('loses no job by deleting what the queue holds: the sweep delivers again', async () => {
    const queue = `${pipeline.redis.keys.poolQueues('default')}:default.noop:`;
    // As many as are released where no worker is there; the others wait where none can reach them.
    const jobs = await Promise.all(Array.from({ length: 40 }, (_, index) => client.submit(completion(`${index}`))));
    const waiting = new Set(await hostile.redis.lrange(`${queue}wait`, 0, -1));
    const entries = jobs.map(({ id }) => id).filter((id) => waiting.has(id));
    expect(entries.length).toBeGreaterThan(5);
    await hostile.redis.del(`${queue}wait`, ...entries.slice(0, 5).map((id) => queue + id));
    const worker = await pipeline.worker(2);
    const ended = await Promise.all(jobs.map((job) => client.ended(job.id)));
    expect(ended.map((job) => job.state)).toEqual(jobs.map(() => 'done'));
    worker.process.kill('SIGKILL');
    await worker.exited;
  });

  test('gains nothing by claiming a job under a made-up name: the epoch is closed and an honest worker does it', async () => {
    const job = await client.submit(completion('squatted'));
    await hostile.redis.hsetnx(hostile.keys.claims(job.id), 'e1', `${'x'.repeat(200)} y 1`);
    const claim = await until(async () => {
      const reply = await colleague.tryClaim(job.id);
      return reply.kind === 'ok' && reply.claim;
    });
    expect(claim.epoch).toBe(2);
    await colleague.commit(claim);
    expect((await client.ended(job.id)).state).toBe('done');
  });

  test('is told apart from a colleague: a refuted job is given to another worker, never back to the refuted one', async () => {
    const job = await client.submit(completion('twice'));
    const claim = await hostile.claim(job.id);
    const lie = JSON.stringify({ text: 'lie', finish_reason: 'stop' });
    await hostile.claims.commitEvidence(claim, hostile.sign(hostile.evidence(claim, lie)), lie);
    await until(async () => (await client.job(job.id)).attempts[0]?.closed?.why === 'refuted');
    expect(await hostile.tryClaim(job.id)).toMatchObject({ kind: 'later', why: 'excluded' });
    await colleague.commit(await colleague.claim(job.id));
    const done = await client.ended(job.id);
    expect([done.state, done.attempts.at(-1)?.worker]).toEqual(['done', workerIdOf(colleague.signingKey.public)]);
  });
});

describe('a hostile worker that claims past the script', () => {
  /** Claims an epoch in its own name, whatever the script would say. */
  async function seize({ redis, keys, id: worker }: HandWorker, id: string, epoch: number): Promise<Claim> {
    await redis.hsetnx(keys.claims(id), `e${epoch}`, `${worker} token ${Date.now()}`);
    const [ticket, input] = await redis.hmget(keys.ticket(id), 'ticket', 'input');
    return { id, epoch, secret: 'secret', token: 'token', ticket: ticket ?? '', input: input ?? undefined };
  }

  test('is not judged again after a refutation: it cannot answer until an attempt is not drawn', async () => {
    const job = await client.submit(completion('again and again', { attempts: 3 }));
    const lie = JSON.stringify({ text: 'lie', finish_reason: 'stop' });
    // The sequential test has not heard of this one yet.
    const liar = pipeline.hand(3);
    const claim = await liar.claim(job.id);
    await liar.claims.commitEvidence(claim, liar.sign(liar.evidence(claim, lie)), lie);
    await until(async () => (await client.job(job.id)).attempts[0]?.closed?.why === 'refuted');
    const again = await seize(liar, job.id, 2);
    const output = liar.honestOutput(again);
    await liar.writeRaw(again, encodeStored(liar.sign(liar.evidence(again, output))), output);
    const closed = await until(async () => (await client.job(job.id)).attempts[1]?.closed ?? undefined);
    expect([closed.why, closed.detail]).toEqual(['void', 'WORKER_REFUTED_BEFORE']);
    await colleague.commit(await colleague.claim(job.id));
    expect((await client.ended(job.id)).state).toBe('done');
  });

  test('takes no job from a colleague that runs it: epochs claimed out of turn fence nobody and cost no attempt', async () => {
    const job = await client.submit(completion('out of turn', { attempts: 2 }));
    const claim = await colleague.claim(job.id);
    for (const epoch of [2, 3, 5, 12, 999]) {
      const seized = await seize(hostile, job.id, epoch);
      const output = hostile.honestOutput(seized);
      await hostile.writeRaw(seized, encodeStored(hostile.sign(hostile.evidence(seized, output))), output);
    }
    // What stands behind these entries in the stream is heard, so that they were as well.
    const next = await client.submit(completion('behind'));
    await colleague.commit(await colleague.claim(next.id));
    expect((await client.ended(next.id)).state).toBe('done');
    const running = await client.job(job.id);
    expect([running.state, running.attempts.length]).toEqual(['running', 1]);

    await colleague.release(claim, 'engine_error');
    const queued = await until(async () => ((one) => one.state === 'queued' && one)(await client.job(job.id)));
    expect(queued.attempts.map(({ closed }) => closed?.why)).toEqual(['released', 'void', 'void']);
    const second = await colleague.claim(job.id);
    expect(second.epoch).toBe(4);
    expect(await colleague.commit(second)).toBe('ok');
    const done = await client.ended(job.id);
    expect([done.state, done.attempts.at(-1)?.worker]).toEqual(['done', colleague.id]);
  });

  test('and is on no list has no say in how a job ends: its release is void, whatever it says', async () => {
    const job = await client.submit(completion('refused by a stranger', ONE_ATTEMPT));
    const stranger = new HandWorker(hostile.redis, hostile.keys, signingKeyFromPem(generateSigningKeyPem()));
    await stranger.release(await stranger.claim(job.id), 'engine_refused');
    const closed = await until(async () => (await client.job(job.id)).attempts[0]?.closed ?? undefined);
    expect([closed.why, closed.detail]).toEqual(['void', 'WORKER_UNKNOWN']);
    await colleague.commit(await colleague.claim(job.id));
    expect((await client.ended(job.id)).state).toBe('done');
  });
});

describe('an answer that nobody is left to give', () => {
  const lie = JSON.stringify({ text: 'trust me', finish_reason: 'stop' });
  const facts = { name: 'noop', sha256: sha256Hex(''), engine: 'noop', engineVersion: '1', engineSha256: '', slots: 1 };

  async function appear({ redis, keys, id, signingKey }: HandWorker): Promise<void> {
    const publicKey = signingKey.public.raw;
    const said = { id, role: 'worker', pool: 'default', publicKey, state: 'consuming' } as const;
    await announce(
      redis,
      keys,
      { ...said, models: [facts], startedAt: new Date().toISOString(), inFlight: 0 },
      signingKey,
    );
    // Whether somebody counts as present must not depend on how long a test takes.
    await pipeline.redis.client().pexpire(keys.worker('default', id), 3_600_000);
  }
  const leave = ({ redis, keys, id }: HandWorker) => withdraw(redis, keys, { role: 'worker', pool: 'default' }, id);
  async function refute(worker: HandWorker, id: string): Promise<void> {
    const claim = await worker.claim(id);
    await worker.claims.commitEvidence(claim, worker.sign(worker.evidence(claim, lie)), lie);
    await until(async () => ((state) => state === 'queued' || state === 'rejected')((await client.job(id)).state));
  }

  test('ends as rejected with its reason, whatever attempts are left, when the last worker has tried or gone', async () => {
    await appear(hostile);
    await appear(colleague);
    const { id } = await client.submit(completion('two of us', { attempts: 5 }));
    await refute(hostile, id);
    expect((await client.job(id)).state).toBe('queued');
    await refute(colleague, id);
    await expectRejected(id, 'RECOMPUTED_OUTPUT_DIFFERS');

    const left = await client.submit(completion('one of us leaves', { attempts: 5 }));
    await refute(hostile, left.id);
    expect((await client.job(left.id)).state).toBe('queued');
    await leave(colleague);
    await expectRejected(left.id, 'RECOMPUTED_OUTPUT_DIFFERS');

    const alone = await client.submit(completion('alone', { attempts: 5 }));
    await refute(hostile, alone.id);
    await expectRejected(alone.id, 'RECOMPUTED_OUTPUT_DIFFERS');
    await leave(hostile);
  });
});
