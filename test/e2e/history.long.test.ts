import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Countersign } from '../../src/client/client.ts';
import type { JobList } from '../../src/roles/api/jobs.schemas.ts';
import { findCanaries } from '../support/canary.ts';
import { NOOP_MODEL, Pipeline, completion, until, type Client } from '../support/pipeline.ts';

const HANDS = { ...NOOP_MODEL, name: 'by-hand', pool: 'hands' };
const CANARY = 'xerophyte quagmire';

let pipeline: Pipeline;
let client: Client;

/** All jobs that a search finds, page by page, once nothing is still to come. */
async function found(as: Client, query: string): Promise<string[]> {
  // A courier that was killed leaves the memory to the next, which takes a moment.
  await until(async () => {
    const answer = await as.fetch(`/v1/jobs?limit=1&${query}`);
    return answer.ok && !((await answer.json()) as JobList).catching_up;
  });
  const ids: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const more: string = cursor === '' ? '' : `&cursor=${cursor}`;
    const page: JobList = await as.json<JobList>(`/v1/jobs?limit=7&${query}${more}`);
    ids.push(...page.jobs.map(({ id }) => id));
    cursor = page.next_cursor;
  }
  return ids;
}

/** A job that a worker gives back with this sentence, and that has no attempt left. */
async function failed(as: Client, detail: string): Promise<string> {
  const { id } = await as.submit(completion('x', { model: 'by-hand', attempts: 1 }));
  const hand = pipeline.hand(2, undefined, 'hands');
  const claim = await until(() => hand.claim(id).catch(() => undefined));
  await hand.release(claim, 'engine_error', detail);
  expect((await as.ended(id)).state).toBe('failed');
  return id;
}

beforeAll(async () => {
  pipeline = await Pipeline.prepare([NOOP_MODEL, HANDS]);
  const env = { 'attestor:COUNTERSIGN_KEEP_JOBS': '100' };
  await Promise.all([pipeline.api(), pipeline.worker(1), pipeline.attestor(env), pipeline.courier()]);
  client = await pipeline.client('acme');
});
afterAll(() => pipeline[Symbol.asyncDispose]());

describe('the history of ended jobs', () => {
  const ids: string[] = [];
  let lost = '';

  test('the first search begins it, and finds in it what ended before, also what Redis has let go since', async () => {
    lost = await failed(client, `${CANARY}, said the worker <script>`);
    const admin = pipeline.redis.client();
    for (let at = 0; at < 130; at += 10)
      ids.push(
        ...(await Promise.all(Array.from({ length: 10 }, () => client.run(completion('x'))))).map(({ id }) => id),
      );
    ids.push(lost);
    expect(await admin.hexists(pipeline.redis.keys.jobEnds, 'history')).toBe(0);
    // What Redis has let go before is done, and comes from the archive.
    await until(async () => (await admin.zcard(pipeline.redis.keys.endedOf('acme'))) <= 100);
    const all = await until(async () => {
      const seen = await found(client, 'history=true');
      return seen.length >= 130 && seen;
    });
    expect(new Set(all).size).toBe(all.length);
    expect(all.filter((id) => !ids.includes(id))).toEqual([]);
    expect(ids.filter((id) => !all.includes(id) && id !== lost)).toEqual([]);
    // What Redis alone had is lost where it went before the history began.
    if (!all.includes(lost)) ids.splice(ids.indexOf(lost), 1);
  });

  test('each filter finds what it says, a key no more than its own, a tenant nothing of another', async () => {
    const id = await failed(client, `${CANARY} again`);
    ids.push(id);
    const worker = pipeline.hand(2).id;
    for (const query of [
      `worker=${worker}`,
      'reason=QUAGMIRE',
      'state=failed&history=true',
      'model=by-hand&history=true',
    ])
      expect([query, (await found(client, query))[0]]).toEqual([query, id]);
    expect(await found(client, 'reason=quagmire+nonsense')).toEqual([]);
    expect(await found(client, `worker=${worker}&state=done`)).toEqual([]);
    const own = new (client.constructor as typeof Client)(pipeline.url, await pipeline.key('acme', ['submit', 'read']));
    expect(await found(own, 'history=true')).toEqual([]);
    const other = await pipeline.client('other');
    for (const query of ['history=true', 'reason=quagmire', `worker=${worker}`, 'key=test'])
      expect([query, await found(other, query)]).toEqual([query, []]);
    expect((await other.fetch(`/v1/jobs/${id}`)).status).toBe(404);
    const keyed = await client.submit(completion('x'), { 'idempotency-key': '"a key"' });
    expect(await found(client, 'idempotency_key=%22a+key%22')).toEqual([keyed.id]);
    expect(await found(other, 'idempotency_key=%22a+key%22')).toEqual([]);
    await client.ended(keyed.id);
    ids.push(keyed.id);
    for (const [query, code] of [
      ['history=true&cursor=abc', 'request_invalid'],
      ['reason=%20-', 'request_invalid'],
    ])
      expect(await (await client.fetch(`/v1/jobs?${query}`)).json()).toMatchObject({ status: 400, code });
  });

  test.each(['courier.before-note-history', 'courier.after-note-history', 'courier.after-erase-history'])(
    'a courier that dies at %s leaves each end in it once',
    async (point) => {
      await pipeline.kill('courier');
      const dying = await pipeline.courier({ COUNTERSIGN_CRASH_AT: `${point}:1` });
      const erased = ids[0] ?? '';
      if (point.includes('erase')) await client.fetch(`/v1/jobs/${erased}`, { method: 'DELETE' });
      // The memory is started by who uses it.
      await client.fetch('/v1/jobs?history=true');
      for (let at = 0; at < 3; at += 1) ids.push((await client.run(completion('x'))).id);
      expect(await dying.exited).toBe('SIGKILL');
      await pipeline.courier();
      expect((await found(client, 'history=true')).toSorted()).toEqual(ids.toSorted());
    },
  );

  test('a job that only the history keeps is shown as that keeps it', async () => {
    const failedId = (await found(client, 'reason=quagmire'))[0] ?? '';
    for (let at = 0; at < 110; at += 10)
      ids.push(
        ...(await Promise.all(Array.from({ length: 10 }, () => client.run(completion('x'))))).map(({ id }) => id),
      );
    const { keys } = pipeline.redis;
    await until(async () => (await pipeline.redis.client().exists(keys.record(failedId))) === 0);
    expect(await client.job(failedId)).toMatchObject({
      state: 'failed',
      params: null,
      reason: { detail: expect.stringContaining(CANARY) },
      attempts: [{ worker: pipeline.hand(2).id }],
    });
    expect((await found(client, 'history=true')).toSorted()).toEqual(ids.toSorted());
  });

  test('an erased job leaves nothing that a worker wrote in any file, and a deleted tenant leaves no row', async () => {
    const house = await pipeline.client('operator');
    expect((await house.post('/v1/admin/tenants', { name: 'leaving' })).ok).toBe(true);
    const other = await pipeline.client('leaving');
    const words = 'zymurgy obelisk';
    const id = await failed(other, words);
    await until(async () => (await found(other, 'reason=zymurgy')).includes(id));
    await other.fetch(`/v1/jobs/${id}`, { method: 'DELETE' });
    await until(async () => (await found(other, 'reason=zymurgy')).length === 0);
    expect(await found(other, 'history=true')).toEqual([id]);
    const admin = pipeline.redis.client();
    await admin.bgrewriteaof();
    const where = {
      redis: admin,
      folders: [pipeline.folder, pipeline.redis.folder],
      archive: join(pipeline.folder, 'log', 'archive'),
    };
    // The database is purged within a minute.
    await until(async () => (await findCanaries([words, 'zymurgy'], where)).length === 0);
    expect((await house.fetch('/v1/admin/tenants/leaving', { method: 'DELETE' })).ok).toBe(true);
    await until(async () => (await admin.hexists(pipeline.redis.keys.tenantDeletions, 'leaving')) === 0);
    const memory = new Countersign({ url: pipeline.url, key: client.key }).memory('ann');
    await memory.remember('it still works');
  });
});
