import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import { signedAnnouncement } from '../../src/core/catalog/announcement.ts';
import { requestEnrolment } from '../../src/core/registry/enrolment.ts';
import { askOpenly } from '../../src/core/remote/gateway-client.ts';
import { Challenge, ROUTES } from '../../src/core/remote/wire.ts';
import { workerIdOf } from '../../src/ground/keys/signing-key.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { QUEUE_PARTS } from '../../src/core/confirmation/pool-keeper.ts';
import { KEY_TABLE, type Access, type Family, type FamilyName } from '../../src/ground/redis/key-table.ts';
import { poolTag } from '../../src/ground/redis/keys.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { GatewayHand, type Answer } from '../support/gateway-hand.ts';
import type { HandWorker } from '../support/hand-worker.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client, type Role } from '../support/pipeline.ts';
import { newKey } from '../support/sample-receipts.ts';
import { IS_WHOLE, longTest, sampleOf } from '../support/thorough.ts';

/**
 * Everything that a worker of the pool `default` can write, filled with what no worker should write, while
 * honest workers go on: no forged byte is served, nobody honest is blamed, jobs of both pools end, and what
 * was spoilt is repaired without a person.
 */
const GOLD_MODEL = { ...NOOP_MODEL, name: 'gold-noop', pool: 'gold' };
const LARGEST_ID = '18446744073709551615-18446744073709551615';

let pipeline: Pipeline;
let client: Client;
let redis: Redis;
let honest: HandWorker;
let attestor: Role;
/** The same worker at a gateway of the pool, whose login the gateway has. */
let remote: GatewayHand;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, GOLD_MODEL]);
  const [first, gateway] = await Promise.all([
    pipeline.attestor(),
    pipeline.gateway({ COUNTERSIGN_ADDRESS_RATE: '10000' }),
    pipeline.api(),
    pipeline.worker(3),
    pipeline.worker(4, {}, 'gold'),
  ]);
  client = await pipeline.client('operator');
  redis = pipeline.redis.client('worker.default');
  attestor = first;
  honest = pipeline.hand(2);
  remote = new GatewayHand(String(gateway.facts['url']), honest.signingKey);
});
afterAll(() => pipeline[Symbol.asyncDispose]());

/** A key of the family, in the pool `default`. */
function keyOf(family: FamilyName, job: string): string {
  const name = pipeline.redis.keys[family];
  if (typeof name === 'string') return name;
  const [first, ...rest] = (KEY_TABLE[family] as Family).parts;
  const parts = [first === 'job' ? job : 'default', ...rest.map((part) => (part === 'worker' ? honest.id : 'x'))];
  return (name as (...all: string[]) => string)(...parts);
}

const writes = (access: Access | undefined) => access === 'write' || (typeof access === 'object' && access.only !== '');
const families = Object.entries<Family>(KEY_TABLE) as [FamilyName, Family][];
/** The families that a worker may write with any command of its own. */
const OPEN = families.filter(([, { worker }]) => worker === 'write').map(([name]) => name);

/** Ways to spoil a key; each may be refused by Redis. */
const SPOILS: Record<string, (key: string) => Promise<unknown>> = {
  'a text': (key) => redis.set(key, 'garbage'),
  'a megabyte': (key) => redis.set(key, Buffer.alloc(1_000_000, 'a')),
  'a list': (key) => redis.del(key).then(() => redis.lpush(key, 'x')),
  'a hash': (key) => redis.del(key).then(() => redis.hset(key, 'e1', '1e300', 'c1', 'NaN')),
  'a sorted set of endless scores': (key) => redis.del(key).then(() => redis.zadd(key, '+inf', 'x', '-inf', 'y')),
  'a set': (key) => redis.del(key).then(() => redis.sadd(key, 'x')),
  'a stream that has ended': (key) => redis.del(key).then(() => redis.xadd(key, LARGEST_ID, 'id', 'x')),
  nothing: (key) => redis.del(key),
};

/** A job of each pool is done, and its receipt verifies. */
async function bothPoolsWork(name: string): Promise<void> {
  const bodies = [completion(name), { ...completion(name), model: GOLD_MODEL.name }];
  for (const job of await Promise.all(bodies.map((body) => client.run(body)))) {
    expect([name, job.state]).toEqual([name, 'done']);
    verifyReceipt(await client.receipt(job.id), pipeline.keyring, { output: await client.output(job.id) });
  }
}

/** The reads that no garbage may turn into an error. */
async function readsAnswer(name: string, job: string): Promise<void> {
  const paths = [`/v1/jobs/${job}`, '/v1/jobs', '/v1/jobs?state=running', '/v1/models', '/v1/workers', '/health/ready'];
  for (const path of paths) {
    const { status } = await client.fetch(path);
    expect([name, path, status >= 500 && !(path === '/health/ready' && status === 503)]).toEqual([name, path, false]);
  }
}

const stranger = newKey();
/** Asks a gateway to enrol a worker that nobody knows. */
async function askToBeEnrolled(key = stranger): Promise<Answer> {
  const { challenge } = await askOpenly(Challenge, remote.url + ROUTES.challenges, {});
  const request = requestEnrolment(key, { challenge, operator: 'north', labels: {}, gpu: null, evidence: null });
  return remote.send({ target: ROUTES.enrolments, body: JSON.stringify(request) });
}

/** What workers behind a gateway ask it, and what it answers where nothing is spoilt. */
async function gatewayAnswers(job: string): Promise<[status: number, code: string][]> {
  const held = { job, epoch: 1, secret: '0'.repeat(16) };
  const facts = { id: honest.id, role: 'worker' as const, pool: 'default', publicKey: honest.signingKey.public.raw };
  const now = new Date().toISOString();
  const said = { ...facts, startedAt: now, at: now, models: [], state: 'paused' as const, inFlight: 0 };
  const json = (target: string, body: object, method = 'POST') =>
    remote.send({ method, target, body: JSON.stringify(body) });
  const query = `epoch=1&secret=${held.secret}`;
  const blob = `${ROUTES.blob(job, 'a'.repeat(64))}?offset=0&total=1&${query}`;
  const answers = await Promise.all([
    json(ROUTES.announcement, { announcement: signedAnnouncement(said, honest.signingKey) }, 'PUT'),
    json(ROUTES.renewals, { leases: [held] }),
    json(ROUTES.pieces, { pieces: [{ ...held, number: 1, text: 'x' }] }),
    json(ROUTES.leases, { models: [{ name: 'another', slots: 1 }], wait_ms: 0 }),
    json(ROUTES.lease(job), { kind: 'begin', epoch: 1, secret: held.secret }),
    remote.send({ method: 'PUT', target: blob, body: 'x', headers: { 'content-type': 'application/octet-stream' } }),
    remote.send({ method: 'DELETE', target: ROUTES.announcement, body: '{}' }),
    askToBeEnrolled(),
  ]);
  return answers.map(({ status, code = '' }) => [status, code]);
}
const ANSWERS = [
  [200, ''],
  [200, ''],
  [204, ''],
  [200, ''],
  [200, ''],
  [409, 'lease_lost'],
  [204, ''],
  [200, ''],
];

describe('whatever a worker writes to what it may write', () => {
  // A third of the ways for each family, and each way for some family; test:long tries all for all. In short,
  // half of the families.
  const rows = OPEN.map((family, row) => [family, sampleOf(Object.entries(SPOILS), 3, row)] as const);
  test.each(IS_WHOLE ? rows : sampleOf(rows, 2))(
    '%s: of a wrong type, huge, ended or gone, stops nobody',
    async (family, spoils) => {
      expect(spoils.length).toBeGreaterThan(1);
      for (const [name, spoil] of spoils) {
        const job = await client.submit(completion(`${family} ${name}`));
        await spoil(keyOf(family, job.id)).catch(() => undefined);
        await readsAnswer(`${family} ${name}`, job.id);
        for (const [at, answer] of (await gatewayAnswers(job.id)).entries())
          expect([ANSWERS[at], [503, 'storage_unavailable']]).toContainEqual(answer);
        expect([family, name, (await client.ended(job.id)).state]).toEqual([family, name, 'done']);
      }
      await bothPoolsWork(family);
      const { id } = await client.submit(completion('answers'));
      await until(async () => isDeepStrictEqual(await gatewayAnswers(id), ANSWERS));
    },
  );

  test('who fills the place of those that ask to be enrolled keeps nobody from asking', async () => {
    const asks = pipeline.redis.keys.enrolmentAsks('default');
    const asking = newKey();
    await redis.hset(asks, Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`w-${n}`, '{}'])));
    // Until an attestor looks the next time.
    await until(async () => (await askToBeEnrolled(asking)).detail.includes('pending'));
    expect(await pipeline.redis.client().hkeys(asks)).toContain(workerIdOf(asking.public));
    await redis.hset(asks, Object.fromEntries(Array.from({ length: 3_000 }, (_, n) => [`w-${n}`, '{}'])));
    await until(async () => (await askToBeEnrolled(asking)).detail.includes('pending'));
  });

  longTest("the pool's queue, every part at once, is repaired while admission goes on answering", async () => {
    const base = `${pipeline.redis.keys.poolQueues('default')}:default.noop:`;
    for (const name of ['a text', 'a hash', 'a sorted set of endless scores', 'a stream that has ended', 'nothing']) {
      for (const part of Object.keys(QUEUE_PARTS)) await SPOILS[name]?.(base + part).catch(() => undefined);
      const jobs = await Promise.all(Array.from({ length: 5 }, (_, n) => client.submit(completion(`${name} ${n}`))));
      for (const { id } of jobs) expect([name, (await client.ended(id)).state]).toEqual([name, 'done']);
    }
    await redis.hset(`${base}meta`, 'paused', '1');
    await bothPoolsWork('a paused queue');
  });

  test('the stream of commits, ended by its largest id, fails no commit, and is made anew', async () => {
    const { keys } = pipeline.redis;
    await redis.xadd(keys.attest('default'), LARGEST_ID, 'k', 'e');
    await Promise.all(Array.from({ length: 20 }, (_, n) => client.run(completion(`ended ${n}`)))).then((jobs) =>
      expect(jobs.map(({ state }) => state)).toEqual(jobs.map(() => 'done')),
    );
    await until(() => redis.xadd(keys.attest('default'), '*', 'k', 'e').catch(() => undefined));
    await bothPoolsWork('after the largest id');
  });

  test('claims of times that cannot be, before and after the end, show nothing that is not so', async () => {
    const { keys } = pipeline.redis;
    const done = await client.run(completion('claimed after its end'));
    for (const [epoch, time] of ['1e300', '-1', 'NaN', '9'.repeat(200), '', '8640000000000001'].entries())
      await redis.hsetnx(keys.claims(done.id), `e${epoch + 2}`, `${honest.id} token ${time}`);
    const after = await client.job(done.id);
    expect([after.state, after.attempts.length]).toEqual(['done', 1]);
    await readsAnswer('claims after the end', done.id);

    await Promise.all(
      ['1e300', '-1', 'NaN', '9'.repeat(200), '8640000000000001'].map(async (time) => {
        const job = await client.submit({ ...completion(`claimed at ${time}`), attempts: 3 });
        await redis.hsetnx(keys.claims(job.id), 'e1', `${honest.id} token ${time}`);
        await readsAnswer(time, job.id);
        expect((await client.ended(job.id)).state).toBe('done');
      }),
    );
  });

  test('output and tokens beside evidence count only by their digest, and a confirmed answer stays what it was', async () => {
    const { keys } = pipeline.redis;
    const forged = JSON.stringify({ text: 'forged', finish_reason: 'stop' });
    const job = await client.run(completion('x'.repeat(10)));
    const before = await client.output(job.id);
    const fields = await pipeline.redis.client().hkeys(keys.evidence(job.id));
    for (const field of fields) {
      await redis.hsetnx(keys.evidence(job.id), `${field}:o`, forged);
      await redis.hsetnx(keys.evidence(job.id), `${field}:t`, forged);
    }
    expect(await client.output(job.id)).toEqual(before);
    expect(sha256Hex(before)).not.toBe(sha256Hex(forged));
  });

  test('whatever stays behind for ids that never were is removed in time', async () => {
    const { keys } = pipeline.redis;
    const ids = Array.from({ length: 50 }, (_, n) => `job_${poolTag('default')}0${String(n).padStart(25, '0')}`);
    for (const id of ids) {
      await redis.hsetnx(keys.claims(id), 'e1', 'garbage');
      await redis.hsetnx(keys.evidence(id), 'x', 'garbage');
      await redis.set(keys.lease(id), 'garbage');
      await redis.xadd(keys.chunks(id), '*', 'x', 'y');
    }
    const admin = pipeline.redis.client();
    const left = () =>
      admin.exists(...ids.flatMap((id) => [keys.claims(id), keys.evidence(id), keys.lease(id), keys.chunks(id)]));
    await until(async () => (await left()) === 0);
  });
});

describe('a pool is a wall', () => {
  test('no worker of one pool can name a key of another', async () => {
    const job = await client.submit({ ...completion('of gold'), model: GOLD_MODEL.name });
    for (const [name, family] of families.filter(([, { place }]) => place === 'pool')) {
      const key = keyOf(name, job.id).replace(`@${poolTag('default')}:`, `@${poolTag('gold')}:`);
      for (const command of [
        () => redis.get(key),
        () => redis.del(key),
        () => redis.hsetnx(key, 'e1', 'x'),
        () => redis.xadd(key, '*', 'a', 'b'),
      ])
        expect([family.name, await command().catch((error: unknown) => String(error))]).toEqual([
          family.name,
          expect.stringMatching(/NOPERM/),
        ]);
    }
    await expect(redis.publish(pipeline.redis.keys.stopsChannel('gold'), job.id)).rejects.toThrow('NOPERM');
    expect((await client.ended(job.id)).state).toBe('done');
  });

  test('a worker that is not enrolled for a pool cannot answer its jobs, even with the login of the pool', async () => {
    const { keys } = pipeline.redis;
    pipeline.enrolWithPools([['default'], ['default'], ['default'], ['gold']]);
    await until(() => attestor.stderr().includes('"serial":2'));
    const stranger = pipeline.hand(1, undefined, 'gold');
    await pipeline.kill('worker');
    const job = await client.submit({ ...completion('not of the pool'), model: GOLD_MODEL.name, attempts: 1 });
    const admin = pipeline.redis.client();
    await until(async () => (await admin.exists(keys.ticket(job.id))) === 1);
    await stranger.commit(await stranger.claim(job.id));
    const closed = await until(async () => (await client.job(job.id)).attempts[0]?.closed ?? undefined);
    expect([closed.why, closed.detail]).toEqual(['void', 'WORKER_NOT_OF_POOL']);
    expect((await client.job(job.id)).state).toBe('queued');
  });
});

test('no role may use a family in a way that the table does not say', () => {
  for (const [name, family] of families)
    if (family.place === 'home') expect([name, writes(family.worker)]).toEqual([name, false]);
});
