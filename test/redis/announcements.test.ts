import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { announce, Announcements } from '../../src/core/catalog/announcement.ts';
import { workerIdOf, type SigningKey } from '../../src/ground/keys/signing-key.ts';
import { newKey } from '../support/sample-receipts.ts';
import { TestRedis } from '../support/redis.ts';

const GROUP = { role: 'worker', pool: 'default' } as const;
let server: TestRedis;
let honest: SigningKey;

beforeAll(async () => {
  server = await TestRedis.start();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  await server.client().flushall();
  honest = newKey();
  await server.client('attestor').sadd(server.keys.enrolled('default'), workerIdOf(honest.public));
  await say(honest);
});

/** An announcement by a worker's login; self-signed, like any. */
function say(key: SigningKey): Promise<void> {
  const who = { ...GROUP, id: workerIdOf(key.public), publicKey: key.public.raw, state: 'consuming' } as const;
  return announce(
    server.client('worker.default'),
    server.keys,
    { ...who, startedAt: new Date().toISOString(), models: [], inFlight: 0 },
    key,
  );
}

const heard = async (role: 'api' | 'attestor') =>
  (await new Announcements(server.client(role), server.keys).present(GROUP)).map(({ id }) => id);

test.each(['api', 'attestor'] as const)(
  'a worker off the set of its pool is heard by %s all the same',
  async (role) => {
    const { keys } = server;
    await server.client('worker.default').zrem(keys.workers('default'), workerIdOf(honest.public));
    expect(await heard(role)).toEqual([workerIdOf(honest.public)]);
  },
);

test('a set of another type hides nobody who is enrolled', async () => {
  const all = server.keys.workers('default');
  await server.client('worker.default').del(all);
  await server.client('worker.default').set(all, 'spoilt');
  expect(await heard('api')).toEqual([workerIdOf(honest.public)]);
});

test('a thousand strangers who come later do not crowd out who is enrolled, and few of them are read', async () => {
  const { keys } = server;
  const [worker, stranger] = [server.client('worker.default'), newKey()];
  const made = worker.pipeline();
  for (let at = 0; at < 1_100; at += 1) {
    const id = `w-${String(at).padStart(32, '0')}`;
    made.set(keys.worker('default', id), 'not signed', 'PX', 60_000);
    made.zadd(keys.workers('default'), Date.now() + 500_000 + at, id);
  }
  await made.exec();
  await say(stranger);
  // One that asks to be let in has to be found among the few that are looked at.
  await worker.zadd(keys.workers('default'), Date.now() + 600_000, workerIdOf(stranger.public));
  for (const role of ['api', 'attestor'] as const) {
    expect((await heard(role)).toSorted()).toEqual([honest, stranger].map((key) => workerIdOf(key.public)).toSorted());
  }
});
