import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { monthOf } from '../../src/surfaces/ledger/ledger-entry.ts';
import { auditLedger } from '../../src/surfaces/ledger/ledger-audit.ts';
import { UsageStore } from '../../src/surfaces/ledger/usage.store.ts';
import { chargeOf } from '../../src/proof/receipts/charge.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { booksOf } from '../support/books.ts';
import {
  BY_HAND_MODEL,
  KJV_MODEL,
  NOOP_MODEL,
  Client,
  Pipeline,
  completion,
  until,
  type Role,
} from '../support/pipeline.ts';
import { longTest } from '../support/thorough.ts';

const PRICES = {
  version: 1,
  id: '2026-11',
  currency: 'EUR',
  models: {
    'kjv-1m': { input: 2_000_000, output: 8_000_000, second: 1_000, attestation: { recompute: 50 } },
    noop: { input: 1_000_000, output: 1_000_000, attestation: { recompute: 10 } },
    'by-hand': { input: 1_000_000, output: 1_000_000 },
  },
};

let pipeline: Pipeline;
let admin: Client;

beforeAll(async () => {
  pipeline = await Pipeline.prepare([KJV_MODEL, NOOP_MODEL, BY_HAND_MODEL]);
  const path = pipeline.file('prices.json', PRICES);
  await Promise.all([
    pipeline.api({ COUNTERSIGN_PRICES: path }),
    pipeline.worker(1),
    pipeline.attestor(),
    pipeline.courier({ COUNTERSIGN_PRICES: path }),
  ]);
  admin = await pipeline.client('operator');
});
afterAll(() => pipeline[Symbol.asyncDispose]());

const json = async <T>(response: Response): Promise<T> => {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as T;
};

test('prices and catalog are read again at SIGHUP, both or neither, and tickets keep the price that they name', async () => {
  const [api] = pipeline.running().filter(({ name }) => name.startsWith('api'));
  if (api === undefined) throw new Error('no api');
  const payer = await tenant('reread');
  const job = { model: 'by-hand', task: 'completion', input: { prompt: 'x' } };
  const price = async () => (await json<{ price: { input: number } }>(await payer.post('/v1/quote', job))).price.input;
  const { id } = await json<{ id: string }>(await payer.post('/v1/jobs', job));
  const reread = (said: string) => rereadBy(api, said);
  const models = pipeline.file('models.json', '{');
  pipeline.file('prices.json', { ...PRICES, models: { ...PRICES.models, 'by-hand': { input: 7, output: 7 } } });
  await reread('catalog_invalid');
  expect(await price()).toBe(1_000_000);
  pipeline.file('models.json', { version: 1, models: [KJV_MODEL, NOOP_MODEL, { ...BY_HAND_MODEL, tasks: ['chat'] }] });
  await reread(models);
  expect((await payer.post('/v1/jobs', job)).status).toBe(422);
  pipeline.file('models.json', { version: 1, models: [KJV_MODEL, NOOP_MODEL, BY_HAND_MODEL] });
  await reread(models);
  expect(await price()).toBe(7);
  expect(await json(await payer.fetch(`/v1/jobs/${id}`))).toMatchObject({ state: 'queued' });
  pipeline.file('prices.json', PRICES);
  await reread('prices.json');
  await payer.post(`/v1/jobs/${id}/cancel`, {});
});

/** Tells a role to read its files again, and waits for what it says to that. */
async function rereadBy(role: Role, said: string): Promise<void> {
  const before = role.stderr().length;
  role.process.kill('SIGHUP');
  await until(() => role.stderr().slice(before).includes(said));
}

test('a model comes and goes at SIGHUP, and a job that it leaves behind is done all the same', async () => {
  const client = await tenant('comers');
  const roles = pipeline.running().filter(({ name }) => ['attestor', 'api', 'courier'].includes(name));
  const catalog = (...more: object[]) => ({ version: 1, models: [KJV_MODEL, NOOP_MODEL, BY_HAND_MODEL, ...more] });
  const hot = { ...NOOP_MODEL, name: 'hot' };
  const own = pipeline.file('own-models.json', catalog(hot));
  const job = completion('left behind', { model: 'hot', attestation: { recompute: 0 } });
  expect((await client.post('/v1/jobs', job)).status).toBe(404);

  const models = pipeline.file('models.json', catalog(hot));
  for (const role of roles) await rereadBy(role, models);
  // What an attestor computes again, it loads at its start.
  expect((await client.post('/v1/jobs', { ...job, attestation: { recompute: 1 } })).status).toBe(503);
  const { id } = await client.submit(job);
  // A pool is a wall, and is not made at a signal: nothing of such a file is gone by.
  pipeline.file('models.json', catalog({ ...NOOP_MODEL, name: 'walled', pool: 'elsewhere' }));
  for (const role of roles) await rereadBy(role, 'catalog_invalid');
  expect((await client.post('/v1/quote', job)).status).toBe(200);

  pipeline.file('models.json', catalog());
  for (const role of roles) await rereadBy(role, models);
  expect((await client.post('/v1/jobs', job)).status).toBe(404);
  const worker = await pipeline.worker(2, { COUNTERSIGN_CATALOG: own });
  expect(await client.ended(id)).toMatchObject({ state: 'done', model: 'hot' });
  verifyReceipt(await client.receipt(id), pipeline.keyring);
  worker.process.kill('SIGTERM');
  await worker.exited;
});

async function tenant(name: string, limits: object = {}, keyLimits: object = {}): Promise<Client> {
  await json(await admin.post('/v1/admin/tenants', { name, limits }));
  return keyOf(name, { limits: keyLimits });
}

async function keyOf(name: string, more: object = {}): Promise<Client> {
  const { key } = await json<{ key: string }>(
    await admin.post(`/v1/admin/tenants/${name}/keys`, { scopes: ['submit', 'read'], ...more }),
  );
  return new Client(pipeline.url, key);
}

interface Usage {
  rows: {
    model?: string;
    key?: string;
    jobs: number;
    done: number;
    input_tokens: number;
    output_tokens: number;
    charged: number;
  }[];
  account: { spent: number; held: number };
}
const usageOf = async (client: Client, group = 'model') =>
  json<Usage>(await client.fetch(`/v1/usage?group_by=${group}`));
/** What is spent is known with the verdict; the usage says the same once all ends were entered. */
const settled = (client: Client) =>
  until(async () => {
    const usage = await usageOf(client);
    const { held, spent } = usage.account;
    return held === 0 && spent > 0 && usage.rows.reduce((sum, { charged }) => sum + charged, 0) === spent && usage;
  });

describe('what jobs cost', () => {
  test('the sum of the receipts is the ledger, the account and the usage; what is not done costs nothing', async () => {
    const client = await tenant('payer');
    const done = await Promise.all([
      ...Array.from({ length: 3 }, (_, seed) =>
        client.run({
          model: 'kjv-1m',
          task: 'completion',
          input: { prompt: 'In the' },
          params: { max_tokens: 16, seed },
        }),
      ),
      ...Array.from({ length: 20 }, (_, n) => client.run(completion(`n ${n}`))),
    ]);
    const unwanted = await client.submit(completion('x', { model: 'by-hand' }));
    expect((await usageOf(client)).account.held).toBeGreaterThan(0);
    await client.post(`/v1/jobs/${unwanted.id}/cancel`, undefined);
    // What was held for it is given back before its end is entered.
    await until(async () => (await usageOf(client)).rows.some(({ model }) => model === 'by-hand'));
    const usage = await settled(client);
    const charges = new Map<string, number>();
    for (const { id } of done) {
      const { ticket, evidence, verdict } = verifyReceipt(await client.receipt(id), pipeline.keyring);
      const charge = chargeOf(ticket, evidence, verdict);
      expect(ticket.price).toMatchObject({ currency: 'EUR', table: { id: '2026-11' } });
      expect(charge).toBeLessThanOrEqual(ticket.price?.hold ?? 0);
      charges.set(id, charge);
    }
    const total = [...charges.values()].reduce((a, b) => a + b, 0);
    expect(usage.account.spent).toBe(total);
    expect(usage.rows.reduce((sum, row) => sum + row.charged, 0)).toBe(total);
    expect(usage.rows.find(({ model }) => model === 'noop')).toMatchObject({ jobs: 20, done: 20, input_tokens: 20 });
    expect(usage.rows.find(({ model }) => model === 'by-hand')).toMatchObject({ jobs: 1, done: 0, charged: 0 });

    const store = new UsageStore(pipeline.redis.client('api'), pipeline.redis.keys);
    const entries = [];
    for await (const page of store.ledger('payer', monthOf(Date.now()))) entries.push(...page);
    expect(entries).toHaveLength(24);
    expect(entries.filter(({ entry }) => entry.kind === 'release').map(({ job }) => job)).toEqual([unwanted.id]);
    expect(
      new Map(entries.filter(({ entry }) => entry.kind === 'charge').map(({ job, entry }) => [job, entry.amount])),
    ).toEqual(charges);
  });

  longTest('couriers and attestors die again and again, and the books still balance', async () => {
    const client = await tenant('shaken');
    await pipeline.kill('courier');
    const jobs: string[] = [];
    for (const point of ['before-job-ends:1', 'after-job-ends:1', 'after-job-ends:2']) {
      const role = await pipeline.courier({ COUNTERSIGN_CRASH_AT: `courier.${point}` });
      expect(await client.keepBusy(role, 5, point, jobs)).toBe('SIGKILL');
    }
    await pipeline.courier();
    const usage = await settled(client);
    let total = 0;
    for (const id of jobs) {
      const { ticket, evidence, verdict } = verifyReceipt(await client.receipt(id), pipeline.keyring);
      total += chargeOf(ticket, evidence, verdict);
    }
    expect(usage.account).toEqual({ spent: total, held: 0 });
    const { redis, keyring } = pipeline;
    const api = redis.client('api');
    const parts = booksOf(api, redis.keys, { keyring, blobs: redis.folder, log: join(pipeline.folder, 'log') });
    expect(await auditLedger(parts, 'shaken')).toEqual({
      tenant: 'shaken',
      entries: jobs.length,
      compared: jobs.length,
      sums: [{ currency: 'EUR', spent: total, held: 0 }],
      problems: [],
    });
    // It finds what does not fit.
    await redis.client().hincrby(redis.keys.account('shaken'), 'EUR:spent', 1);
    await redis.client().hdel(redis.keys.ledger('shaken', monthOf(Date.now())), jobs[0] ?? '');
    expect((await auditLedger(parts, 'shaken')).problems).toHaveLength(3);
    expect(usage.rows).toMatchObject([{ jobs: jobs.length, done: jobs.length }]);
  });

  test('a spending limit of tenant or key holds against 40 requests at once, and a refusal leaves no trace', async () => {
    const hold = (await json<{ most: number }>(await admin.post('/v1/quote', completion('x', { model: 'by-hand' }))))
      .most;
    expect(hold).toBeGreaterThan(0);
    const byTenant = await tenant('poor', { spend: hold * 5 });
    const byKey = await tenant('thrifty', {}, { spend: hold * 5 });
    for (const client of [byTenant, byKey]) {
      const answers = await Promise.all(
        Array.from({ length: 40 }, () => client.post('/v1/jobs', completion('x', { model: 'by-hand' }))),
      );
      expect(answers.filter(({ status }) => status === 202)).toHaveLength(5);
      const refused = answers.filter(({ status }) => status === 429);
      expect(refused).toHaveLength(35);
      // Nothing is spent yet: it passes, and nobody is told that the money is gone.
      expect(await refused[0]?.json()).toMatchObject({ code: 'spend_held' });
      expect(refused[0]?.headers.get('x-should-retry')).toBe('true');
      const { jobs } = await json<{ jobs: { id: string }[] }>(await client.fetch('/v1/jobs?limit=100'));
      expect(jobs).toHaveLength(5);
      expect((await usageOf(client)).account.held).toBe(hold * 5);
      const quote = await json<{ possible: boolean; reason: { code: string } }>(
        await client.post('/v1/quote', completion('x')),
      );
      expect(quote.possible).toBe(false);
      expect(quote.reason.code).toBe('spend_held');
      await Promise.all(jobs.map(({ id }) => client.post(`/v1/jobs/${id}/cancel`, undefined)));
      await until(async () => (await usageOf(client)).account.held === 0);
      expect((await usageOf(client)).account.spent).toBe(0);
      expect((await client.run(completion('again'))).state).toBe('done');
    }
  });

  test('a refuted worker is not paid, and the charge is that of the confirmed answer', async () => {
    const client = await tenant('refuting');
    const worker = pipeline.hand(2, undefined, 'hands');
    const job = await client.submit(
      completion('lie', { model: 'by-hand', attempts: 1, attestation: { recompute: 1 } }),
    );
    const claim = await worker.claim(job.id);
    const output = JSON.stringify({ text: 'a lie', finish_reason: 'stop' });
    await worker.claims.commitEvidence(claim, worker.sign(worker.evidence(claim, output)), output);
    expect((await client.ended(job.id)).state).toBe('rejected');
    await until(async () => (await usageOf(client)).account.held === 0);
    expect((await usageOf(client)).account.spent).toBe(0);
  });

  test('tokens are recounted by the attestor itself: a wrong input is refuted, an answer is paid by its text', async () => {
    const client = await tenant('recounted');
    const worker = pipeline.hand(2, undefined, 'hands');
    const commit = async (usage: { inputTokens: number; outputTokens: number }) => {
      const body = completion('count me', { model: 'by-hand', attempts: 1, attestation: { recompute: 0 } });
      const { id } = await client.submit(body);
      const claim = await worker.claim(id);
      const output = worker.honestOutput(claim);
      const evidence = worker.evidence(claim, output);
      evidence.predicate.usage = usage;
      await worker.claims.commitEvidence(claim, worker.sign(evidence), output);
      return client.ended(id);
    };
    for (const inputTokens of [0, 2, 60]) {
      const job = await commit({ inputTokens, outputTokens: 1 });
      expect([job.state, job.attempts[0]?.closed?.detail]).toEqual(['rejected', 'USAGE_MISCOUNTED']);
    }
    const padded = await commit({ inputTokens: 1, outputTokens: 40 });
    expect(padded.state).toBe('done');
    const { ticket, evidence, verdict } = verifyReceipt(await client.receipt(padded.id), pipeline.keyring);
    expect(verdict.properties).toContain('USAGE_RETOKENIZED');
    expect(verdict.usage).toEqual({ inputTokens: 1, outputTokens: 1 });
    expect(chargeOf(ticket, evidence, verdict)).toBe(2);
    const usage = await settled(client);
    expect(usage.account.spent).toBe(2);
    expect(usage.rows).toMatchObject([{ input_tokens: 1, output_tokens: 1 }]);

    // The same with a real tokenizer.
    const real = await client.run({
      model: 'kjv-1m',
      task: 'chat',
      input: { messages: [{ role: 'user', content: 'In the beginning' }] },
      params: { max_tokens: 24 },
      attestation: { recompute: 0 },
    });
    const receipt = verifyReceipt(await client.receipt(real.id), pipeline.keyring);
    expect(receipt.verdict.usage?.inputTokens).toBe(receipt.evidence.usage.inputTokens);
    expect(receipt.verdict.usage?.outputTokens).toBeLessThanOrEqual(receipt.evidence.usage.outputTokens);
    expect(receipt.verdict.usage?.outputTokens).toBeGreaterThan(16);
  });

  test('a quote says price, wait and why not, and keeps nothing', async () => {
    const client = await tenant('asking');
    const quote = (body: object) =>
      client.post('/v1/quote', body).then((response) => json<Record<string, unknown>>(response));
    expect(await quote(completion('x'))).toMatchObject({
      possible: true,
      reason: null,
      currency: 'EUR',
      waiting_jobs: 0,
    });
    expect(await quote(completion('x', { model: 'by-hand' }))).toMatchObject({
      possible: false,
      reason: { code: 'no_worker' },
    });
    expect(await quote(completion('x', { model: 'gpt-9' }))).toMatchObject({
      possible: false,
      reason: { code: 'model_not_found' },
    });
    expect((await json<{ jobs: unknown[] }>(await client.fetch('/v1/jobs'))).jobs).toEqual([]);
    expect((await usageOf(client)).account).toEqual({ spent: 0, held: 0 });
  });
});

describe('retention', () => {
  longTest('no finished job is forgotten before its end was entered, and all are in time once it does', async () => {
    await using own = await Pipeline.prepare();
    const keep = { COUNTERSIGN_KEEP_JOBS: '100' };
    const [, , , courier] = await Promise.all([own.api(), own.worker(1), own.attestor(keep), own.courier()]);
    const client = await own.client();
    const redis = own.redis.client();
    const { keys } = own.redis;
    const kept = () => redis.zcard(keys.ended);
    const run = (count: number) =>
      Promise.all(Array.from({ length: count }, (_, n) => client.run(completion(`n ${n}`))));
    await run(150);
    await until(async () => (await kept()) <= 100);
    courier.process.kill('SIGKILL');
    await courier.exited;
    await run(140);
    // The sweep prunes every five seconds; it has looked when the old ones are gone.
    await until(
      async () => (await redis.zcount(keys.ended, '-inf', (await redis.hget(keys.jobEnds, 'cursor')) ?? '0')) === 0,
    );
    expect(await kept()).toBe(140);
    await own.courier();
    await until(async () => (await kept()) <= 100);
    const usage = await usageOf(client);
    expect(usage.rows).toMatchObject([{ jobs: 290, done: 290 }]);
  });
});

describe('limits, keys and tenants', () => {
  test('requests, tokens and open jobs are limited, and headers say how it stands', async () => {
    // So few that none comes back while a slow machine asks: one in half a minute.
    const requests = await tenant('often', { requests_per_minute: 2 });
    const answers = await Promise.all(Array.from({ length: 5 }, () => requests.fetch('/v1/models')));
    const [first] = answers.filter(({ headers }) => headers.get('ratelimit')?.includes('r=1;'));
    const refused = answers.filter(({ status }) => status === 429);
    expect([answers.filter(({ status }) => status === 200).length, refused.length]).toEqual([2, 3]);
    expect(first?.headers.get('ratelimit-policy')).toBe('"tenant-requests";q=2;w=60');
    expect(first?.headers.get('ratelimit')).toMatch(/^"tenant-requests";r=1;t=\d+$/);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(5);
    expect(await refused[0]?.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'rate_limited' } });

    const tokens = await tenant('wordy', {}, { tokens_per_minute: 300 });
    const ask = (max_tokens: number) => tokens.post('/v1/jobs', completion('x', { params: { max_tokens } }));
    expect((await ask(200)).status).toBe(202);
    const second = await ask(200);
    expect([second.status, Number(second.headers.get('retry-after'))]).toEqual([429, expect.any(Number)]);
    expect((await ask(1_000)).status).toBe(429);

    const open = await tenant('busy', { concurrent_jobs: 3 });
    const many = await Promise.all(
      Array.from({ length: 20 }, () => open.post('/v1/jobs', completion('x', { model: 'by-hand' }))),
    );
    expect(many.filter(({ status }) => status === 202)).toHaveLength(3);
    const { jobs } = await json<{ jobs: { id: string }[] }>(await open.fetch('/v1/jobs'));
    await open.post(`/v1/jobs/${jobs[0]?.id ?? ''}/cancel`, undefined);
    expect((await open.post('/v1/jobs', completion('x', { model: 'by-hand' }))).status).toBe(202);
    expect((await open.post('/v1/jobs', completion('x', { model: 'by-hand' }))).status).toBe(429);
  });

  test('keys expire, rotate with an overlap and are revoked; a disabled tenant is locked out; all of it is in the audit log', async () => {
    const client = await tenant('cycle');
    const id = client.key.split('_')[1] ?? '';
    const works = async (one: Client) => (await one.fetch('/v1/models')).status === 200;
    // Both are to work for a while yet, and then not: long enough that a busy machine sees the first.
    const overlap_seconds = 5;
    // Of many at once, one is answered by a key.
    const all = await Promise.all(
      Array.from({ length: 8 }, () => admin.post(`/v1/admin/keys/${id}/rotate`, { overlap_seconds })),
    );
    expect(all.map(({ status }) => status).toSorted()).toEqual([201, ...Array<number>(7).fill(409)]);
    const rotated = await json<{ key: string }>(all.find(({ status }) => status === 201) ?? Response.error());
    const { keys: listed } = await json<{ keys: unknown[] }>(await admin.fetch('/v1/admin/tenants/cycle/keys'));
    expect(listed).toHaveLength(2);
    const brief = await keyOf('cycle', { expires_at: new Date(Date.now() + overlap_seconds * 1_000).toISOString() });
    const next = new Client(pipeline.url, rotated.key);
    expect(await Promise.all([client, next, brief].map(works))).toEqual([true, true, true]);
    for (const ending of [client, brief]) await until(async () => !(await works(ending)));
    expect(await works(next)).toBe(true);
    expect((await admin.post(`/v1/admin/keys/${id}/rotate`, {})).status).toBe(409);
    const past = await admin.post('/v1/admin/tenants/cycle/keys', {
      scopes: ['read'],
      expires_at: '2020-01-01T00:00:00Z',
    });
    expect(past.status).toBe(400);
    const patch = (disabled: boolean) =>
      admin.fetch('/v1/admin/tenants/cycle', {
        method: 'PATCH',
        body: JSON.stringify({ disabled }),
        headers: { 'content-type': 'application/json' },
      });
    await patch(true);
    await until(async () => !(await works(next)));
    await patch(false);
    await until(() => works(next));
    await admin.fetch(`/v1/admin/keys/${next.key.split('_')[1] ?? ''}`, { method: 'DELETE' });
    await until(async () => !(await works(next)));
    const audit = await json<{ entries: { action: string; by: string; target: string }[] }>(
      await admin.fetch('/v1/admin/audit?limit=30'),
    );
    const entries = audit.entries.filter(({ action }) => /^(key|tenant)\./.test(action));
    expect(entries.slice(0, 7).map(({ action }) => action)).toEqual([
      'key.revoke',
      'tenant.change',
      'tenant.change',
      'key.create',
      'key.rotate',
      'key.create',
      'tenant.create',
    ]);
    expect(new Set(entries.slice(0, 7).map(({ by }) => by))).toEqual(new Set([admin.key.split('_')[1]]));
    expect(JSON.stringify(entries)).not.toContain(rotated.key.slice(-40));
    // Redis itself keeps the books from being rewritten, also by whoever holds the API's password.
    const api = pipeline.redis.client('api');
    const { keys } = pipeline.redis;
    for (const attempt of [
      api.hset(keys.audit(0), '0', '{}'),
      api.unlink(keys.audit(0)),
      api.hset(keys.ledger('payer', monthOf(Date.now())), 'x:charge', '{}'),
      api.hdel(keys.ledger('payer', monthOf(Date.now())), 'x:charge'),
      api.unlink(keys.ledger('payer', monthOf(Date.now()))),
    ])
      await expect(attempt).rejects.toThrow(/NOPERM/);
  });
});
