import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import type { Rulings } from '../../src/core/confirmation/rulings.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import type { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import type { SubmitOptions } from '../../src/surfaces/admission/admission.ts';
import type { Submitter } from '../../src/surfaces/admission/pending-job.ts';
import { UsageStore } from '../../src/surfaces/ledger/usage.store.ts';
import { TenantDeletions } from '../../src/surfaces/offboarding/tenant-deletions.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import { Tenants } from '../../src/surfaces/tenants/tenant.store.ts';
import { AuditLog } from '../../src/core/audit/audit-log.ts';
import type { Limits } from '../../src/surfaces/tenants/limits.ts';
import { TOKEN_PRICES, twoAdmissions, type admissionTo } from '../support/admission.ts';
import type { TestRedis } from '../support/redis.ts';
import { IS_LONG } from '../support/thorough.ts';

let server: TestRedis;
let admin: Redis;
/** Two of them, as of two processes of the API. */
let admissions: ReturnType<typeof admissionTo>[];
let usage: UsageStore;
let rulings: Rulings;
beforeAll(async () => {
  ({ server, admin, admissions, rulings } = await twoAdmissions(TOKEN_PRICES));
  usage = new UsageStore(server.client('api'), server.keys);
});
afterAll(() => server[Symbol.asyncDispose]());

/** A job that may cost this many millionths. */
const job = (max_tokens = 10): SubmitJob => ({
  model: 'noop',
  task: 'completion',
  input: { prompt: 'x' },
  params: { max_tokens },
});

let tenants = 0;
/** A tenant that nobody else uses, and the limits of its key. */
function submitter(tenant: Limits = {}, key: Limits = {}): Submitter {
  tenants += 1;
  return { tenant: `t${tenants}`, keyId: 'k', limits: { tenant, key } };
}

/** What a request comes to: the ids of its jobs, or the error that it was refused with. */
async function outcome(who: Submitter, bodies: SubmitJob[], options: SubmitOptions = {}, at = 0) {
  try {
    const admitted = await admissions[at % admissions.length]?.submitAll(who, bodies, options);
    return { ids: (admitted ?? []).map(({ id }) => id), code: undefined, headers: {} as Record<string, string> };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    return { ids: [], code: error.code, headers: error.headers };
  }
}

/** The jobs end without an answer, and without one that was begun. */
const end = (ids: readonly string[]) =>
  rulings.apply(
    ids.map((id) => ({
      id,
      epoch: 0,
      phases: ['queued'],
      action: { kind: 'end', state: 'cancelled' },
      code: 'cancelled',
      detail: '',
    })),
  );

const held = async (who: Submitter) => (await usage.account(who.tenant)).held;

describe('a budget', () => {
  test('of 1,000 submissions at its edge: none over it, and none refused that fits', async () => {
    for (let round = 0; round < (IS_LONG ? 100 : 2); round += 1) {
      const limit = 3_000 + round;
      const who = round % 2 === 0 ? submitter({ spend: limit }) : submitter({}, { spend_per_day: limit });
      const wanted = Array.from({ length: 1_000 }, (_, at) => 1 + ((at * 7919 + round) % 97));
      const answers = await Promise.all(wanted.map((amount, at) => outcome(who, [job(amount)], {}, at)));
      const took = answers.reduce((sum, { ids }, at) => sum + (ids.length === 0 ? 0 : (wanted[at] ?? 0)), 0);
      expect(took).toBeLessThanOrEqual(limit);
      expect(await held(who)).toBe(took);
      const refused = answers.flatMap(({ ids, code }, at) => (ids.length === 0 ? [{ code, amount: wanted[at] }] : []));
      // What is left only shrinks here: whoever fits at the end fitted at any time.
      for (const { code, amount } of refused) {
        expect(code).toBe('spend_held');
        expect(amount).toBeGreaterThan(limit - took);
      }
      await end(answers.flatMap(({ ids }) => ids));
      expect(await held(who)).toBe(0);
    }
  });

  test('gives back with the end of a job, before any book is written', async () => {
    const who = submitter({ spend: 10 });
    for (let time = 0; time < 5; time += 1) {
      const { ids } = await outcome(who, [job(10)]);
      expect(ids).toHaveLength(1);
      expect((await outcome(who, [job(1)])).code).toBe('spend_held');
      await end(ids);
      // A ruling that comes twice gives back once.
      await end(ids);
      expect(await held(who)).toBe(0);
    }
  });

  test.each([
    ['spend_per_day', 'EUR', 'day'],
    ['spend_per_month', 'EUR', 'month'],
    ['tokens_per_day', 'tokens', 'day'],
    ['tokens_per_month', 'tokens', 'month'],
    ['requests_per_day', 'requests', 'day'],
  ] as const)(
    '%s counts what is spent in its period alone, and says for how long it is over',
    async (name, unit, span) => {
      const most = 1_000;
      for (const whose of ['tenant', 'key'] as const) {
        const who = whose === 'tenant' ? submitter({ [name]: most }) : submitter({}, { [name]: most });
        const field = whose === 'tenant' ? unit : `k:${unit}`;
        const today = new Date().toISOString().slice(0, span === 'day' ? 10 : 7);
        await admin.hset(server.keys.spent(who.tenant, span === 'day' ? '2020-01-01' : '2020-01'), field, most);
        expect((await outcome(who, [job()])).code).toBeUndefined();
        await admin.hset(server.keys.spent(who.tenant, today), field, most);
        const over = await outcome(who, [job()]);
        expect(over.code).toBe('spend_exceeded');
        expect(over.headers['x-should-retry']).toBe('false');
        expect(Number(over.headers['retry-after'])).toBeLessThanOrEqual(span === 'day' ? 86_400 : 31 * 86_400);
      }
    },
  );

  test('of another currency is another budget', async () => {
    const who = submitter({ spend: 10 });
    await admin.hset(server.keys.account(who.tenant), 'USD:spent', 1_000_000);
    expect((await outcome(who, [job(10)])).code).toBeUndefined();
    expect((await usage.accounts(who.tenant)).toSorted((a, b) => a.currency.localeCompare(b.currency))).toMatchObject([
      { currency: 'EUR', spent: 0, held: 10 },
      { currency: 'USD', spent: 1_000_000, held: 0 },
    ]);
  });

  test('without a limit ends where sums are no longer exact, before anything is written', async () => {
    const who = submitter();
    await admin.hset(server.keys.account(who.tenant), 'EUR:spent', Number.MAX_SAFE_INTEGER - 10);
    expect((await outcome(who, [job(11)])).code).toBe('spend_exceeded');
    expect((await outcome(who, [job(10)])).code).toBeUndefined();
    expect(await usage.account(who.tenant)).toMatchObject({ spent: Number.MAX_SAFE_INTEGER - 10, held: 10 });
  });
});

describe('the jobs of one request', () => {
  // Nobody seals here, and admission looks at 500 ends that are not sealed: the races before leave more.
  beforeAll(() => admin.del(server.keys.unsealed));

  test.each<[string, Limits, Limits]>([
    ['money', { spend: 50 }, {}],
    ['tokens', {}, { tokens: 450 }],
    ['open jobs', { concurrent_jobs: 5 }, {}],
    ['open jobs of the key', {}, { concurrent_jobs: 5 }],
    ['tokens a minute', { tokens_per_minute: 71 }, {}],
  ])('are accepted all or none by a limit of %s, and a refusal leaves the key free', async (_, tenant, key) => {
    const who = submitter(tenant, key);
    const eight = Array.from({ length: 8 }, () => job());
    const refused = await outcome(who, eight, { idempotencyKey: 'once' });
    expect(refused.code).toBeDefined();
    // Eight can never pass, whatever else is open, and whoever asks is told so.
    expect(refused.headers['x-should-retry']).toBe('false');
    expect(await admin.zcard(server.keys.openOf(who.tenant))).toBe(0);
    const five = await outcome(who, eight.slice(0, 5), { idempotencyKey: 'once' });
    expect(five.ids).toHaveLength(5);
    expect(await outcome(who, eight.slice(0, 5), { idempotencyKey: 'once' })).toEqual(five);
    expect((await outcome(who, eight, { idempotencyKey: 'once' })).code).toBe('idempotency_key_reused');
    const more = await outcome(who, [job()]);
    expect(more.code).toBeDefined();
    expect(more.headers['x-should-retry']).not.toBe('false');
    await end(five.ids);
    expect((await outcome(who, eight.slice(0, 5))).code).toBeUndefined();
  });
});

describe('a limit', () => {
  test('of open jobs holds for a key against 60 at once, also over two processes', async () => {
    const who = submitter({}, { concurrent_jobs: 3 });
    const answers = await Promise.all(Array.from({ length: 60 }, (_, at) => outcome(who, [job()], {}, at)));
    expect(answers.filter(({ ids }) => ids.length > 0)).toHaveLength(3);
    expect(new Set(answers.map(({ code }) => code))).toEqual(new Set([undefined, 'rate_limited']));
  });

  test('a minute counts the lines of batches, and leaves a quarter of it to people', async () => {
    const who = submitter({ requests_per_minute: 8 });
    const lines = await Promise.all(Array.from({ length: 20 }, () => outcome(who, [job()], { isBackground: true })));
    expect(lines.filter(({ ids }) => ids.length > 0)).toHaveLength(6);
    const alone = submitter({ requests_per_minute: 1 });
    expect((await outcome(alone, [job()], { isBackground: true })).code).toBeUndefined();
  });

  test('a minute is not taken by what is refused, nor again by a repetition', async () => {
    const who = submitter({ tokens_per_minute: 22, spend: 10 });
    for (let time = 0; time < 5; time += 1)
      expect((await outcome(who, [job(11)], { idempotencyKey: 'dear' })).code).toBe('spend_exceeded');
    for (let time = 0; time < 5; time += 1)
      expect((await outcome(who, [job(10)], { idempotencyKey: 'cheap' })).ids).toHaveLength(1);
  });

  test('that no request can keep within is said for good, and leaves nothing', async () => {
    const who = submitter({ tokens_per_minute: 5 });
    const never = await outcome(who, [job(10)]);
    expect(never).toMatchObject({ code: 'request_exceeds_limit', headers: { 'x-should-retry': 'false' } });
    expect(await admin.exists(server.keys.limit('tenant', who.tenant, 'tokens'))).toBe(0);
  });
});

describe('keys and tenants', () => {
  test('a rotated key is the same key for budgets, and ends when the first would have', async () => {
    const keys = new ApiKeys(server.client('api'), server.keys);
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const first = await keys.create('me', { tenant: 'turning', scopes: ['submit'], expiresAt, limits: { spend: 10 } });
    const second = await keys.rotate('me', first.keyId, 60_000);
    const third = await keys.rotate('me', second.keyId, 60_000);
    expect((await keys.get(third.keyId)).expiresAt).toBe(expiresAt);
    const callers = await Promise.all([first, second, third].map(({ text }) => keys.authenticate(text)));
    const answers = [];
    for (const caller of callers) answers.push(caller && (await outcome(caller, [job(10)])).code);
    expect(answers).toEqual([undefined, 'spend_held', 'spend_held']);
  });

  test('a tenant whose deletion was asked for stays locked out, and gets no key', async () => {
    const redis = server.client('api');
    const audit = new AuditLog(redis, server.keys);
    await new Tenants(redis, server.keys, audit).create('me', 'going', {});
    const keys = new ApiKeys(redis, server.keys);
    const { text } = await keys.create('me', { tenant: 'going', scopes: ['read'] });
    await new TenantDeletions(redis, server.keys, audit).ask('me', 'going');
    // What a change writes that was read before.
    await admin.hdel(server.keys.tenant('going'), 'disabledAt');
    expect(await keys.authenticate(text)).toBeUndefined();
    await expect(keys.create('me', { tenant: 'going', scopes: ['read'] })).rejects.toMatchObject({
      code: 'tenant_deleted',
    });
  });

  test('a tenant lists its keys, however many newer ones another has made', async () => {
    const keys = new ApiKeys(server.client('api'), server.keys);
    const { keyId } = await keys.create('me', { tenant: 'quiet', scopes: ['read'] });
    const flood = admin.pipeline();
    for (let at = 0; at < 1_000; at += 1) {
      const id = `e${at.toString(16).padStart(15, '0')}`;
      flood.hset(server.keys.apiKey(id), { hash: '0'.repeat(64), tenant: 'loud', scopes: 'read', createdAt: '' });
      flood.zadd(server.keys.apiKeys, Date.now() + 1_000, id);
    }
    await flood.exec();
    expect((await keys.list('quiet')).map(({ id }) => id)).toEqual([keyId]);
    expect(await keys.list()).toHaveLength(1_000);
  });

  test.each(['{', '{"spend":-1}', '{"spnd":1}', '[]', '9007199254740993'])(
    'whose stored limits are %s are not without limits',
    async (limits) => {
      const redis = server.client('api');
      const keys = new ApiKeys(redis, server.keys);
      const { text, keyId } = await keys.create('me', { tenant: 'spoilt', scopes: ['submit'] });
      await admin.hset(server.keys.tenant('spoilt'), { createdAt: '2026-11-26T00:00:00Z', limits });
      const unreadable = { code: 'record_unreadable' };
      await expect(keys.authenticate(text)).rejects.toMatchObject(unreadable);
      await expect(keys.limitsOf('spoilt', keyId)).rejects.toMatchObject(unreadable);
      const tenants = new Tenants(redis, server.keys, new AuditLog(redis, server.keys));
      await expect(tenants.get('spoilt')).rejects.toMatchObject(unreadable);
      await admin.del(server.keys.tenant('spoilt'));
      await admin.hset(server.keys.apiKey(keyId), { limits });
      expect(await keys.authenticate(text)).toBeUndefined();
      await expect(keys.limitsOf('spoilt', keyId)).rejects.toMatchObject(unreadable);
      expect(await keys.list('spoilt')).not.toContainEqual(expect.objectContaining({ id: keyId }));
    },
  );
});

test('days and months of Redis are those of the calendar, and end where the next begins', async () => {
  const source = readFileSync(new URL('../../src/core/jobs/lua/period.lua', import.meta.url), 'utf8');
  const script = `${source}
    local told = {}
    for _, ms in ipairs(ARGV) do
      told[#told + 1] = { period(tonumber(ms), 'day'), period(tonumber(ms), 'month'),
        string.format('%.0f', periodEnd(tonumber(ms), 'day')), string.format('%.0f', periodEnd(tonumber(ms), 'month')) }
    end
    return told`;
  const times = fc.sample(fc.integer({ min: 0, max: Date.parse('2400-01-01') }), 2_000);
  const edges = ['2024-02-29', '2100-02-28', '2000-02-29', '2026-12-31', '2027-01-01', '2026-11-30'].flatMap((day) => [
    Date.parse(day),
    Date.parse(day) + 86_399_999,
  ]);
  const all = [...edges, ...times];
  const told = (await admin.eval(script, 0, ...all)) as string[][];
  for (const [at, ms] of all.entries()) {
    const iso = new Date(ms).toISOString();
    const month = new Date(ms);
    expect(told[at]).toEqual([
      iso.slice(0, 10),
      iso.slice(0, 7),
      String(Date.parse(iso.slice(0, 10)) + 86_400_000),
      String(Date.UTC(month.getUTCFullYear(), month.getUTCMonth() + 1, 1)),
    ]);
  }
});
