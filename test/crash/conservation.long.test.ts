import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, jest, test } from '@jest/globals';
import { openAny } from '../../src/core/jobs/erased-record.ts';
import { FolderTree } from '../../src/ground/blobs/file-tree.ts';
import { JobArchive } from '../../src/core/jobs/job-archive.ts';
import { createLogger } from '../../src/ground/logging/logger.ts';
import { chargeOf } from '../../src/proof/receipts/charge.ts';
import { verifyReceipt } from '../../src/proof/receipts/receipt.ts';
import { auditLedgers, type LedgerAudit } from '../../src/surfaces/ledger/ledger-audit.ts';
import { BUDGETS } from '../../src/surfaces/tenants/limits.ts';
import { LedgerCloser } from '../../src/surfaces/ledger/ledger-closer.ts';
import { booksOf } from '../support/books.ts';
import { DrawnMoney, type Tenant } from '../support/drawn-money.ts';
import { openaiOf } from '../support/openai.ts';
import { OtherDate } from '../support/other-date.ts';
import { comeBackWith, keep } from '../support/older-file.ts';
import { BY_HAND_MODEL, Client, NOOP_MODEL, Pipeline, SHORT_LEASE, until, type Role } from '../support/pipeline.ts';
import { drawsOf } from '../support/toy-model.ts';

/** A seed that failed is tried again with COUNTERSIGN_TEST_SEED. */
const FIRST = Number(process.env['COUNTERSIGN_TEST_SEED'] ?? Date.now() % 1_000_000);
const SEEDS = Array.from({ length: Number(process.env['COUNTERSIGN_TEST_SEEDS'] ?? 2) }, (_, at) => FIRST + at);
/** Whether Redis also comes back with older files. */
const hasOlderFiles = (seed: number) => seed % 2 === 0;
const PIECES = 90;
const LANES = 6;
const FAULTS = 10;
const DAY_MS = 86_400_000;
/** When the next month begins, and its first hour. */
const MONTH_END_MS = Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth() + 1, 1);
const NEXT_MONTH_MS = MONTH_END_MS + 3_600_000;
/** How long before the end of the month the house opens, by its own clocks. */
const LEFT_MS = 100_000;
const prices = (number: number) => ({
  version: 1,
  id: `v${number}`,
  currency: 'EUR',
  models: {
    noop: { input: number * 500_000, output: 1_000_000, attestation: { recompute: 10 } },
    'by-hand': { input: 1_000_000, output: number * 1_000_000 },
  },
});
/** The limits of each tenant: what its work is refused for, or waits for. */
const LIMITS: Record<string, Limits> = {
  rich: {},
  slow: { concurrent_jobs: 12, tokens_per_minute: 20_000 },
  fallen: {},
  'in-all': { spend: 400, tokens: 900, requests: 10 },
  'by-month': { spend_per_month: 300, tokens_per_month: 900, requests_per_month: 8 },
  'by-day': { spend_per_day: 300, tokens_per_day: 900, requests_per_day: 8 },
};
const BUDGETED = ['in-all', 'by-month', 'by-day'] as const;
/** How a budget stands in the accounts. */
const UNITS = { money: 'EUR', tokens: 'tokens', requests: 'requests' } as const;
/** The days in which the house lives. */
const PERIODS = [MONTH_END_MS - 1, MONTH_END_MS].map((ms) => new Date(ms).toISOString().slice(0, 10));
/** By name, each in its unit. */
type Limits = Readonly<Record<string, number>>;
/** Only the date is played. */
const NOT_PLAYED = [
  ...(['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'] as const),
  ...(['nextTick', 'queueMicrotask', 'performance', 'hrtime'] as const),
];
const OVER = ['completed', 'failed', 'cancelled', 'expired'];

/** A whole house, and who is drawn to be killed in it. */
class House implements AsyncDisposable {
  readonly pipeline: Pipeline;
  readonly tenants: Tenant[] = [];
  readonly #date: OtherDate;
  /** What makes a process live at the end of a month. */
  readonly clock: Readonly<Record<string, string>>;
  readonly #env: Readonly<Record<string, string>>;
  readonly #starts: (() => Promise<Role>)[];
  readonly #running: Role[] = [];
  /** The most that each budget has ever been. */
  readonly #most = new Map<string, Limits>();
  operator = new Client('', '');
  #prices = 1;

  private constructor(pipeline: Pipeline, date: OtherDate, clock: Readonly<Record<string, string>>) {
    this.pipeline = pipeline;
    this.#date = date;
    this.clock = clock;
    this.#env = { ...clock, COUNTERSIGN_PRICES: pipeline.file('prices.json', prices(1)) };
    const attestor = () =>
      pipeline.attestor({ ...clock, COUNTERSIGN_KEEP_JOBS: '100', COUNTERSIGN_LOG_RECOVERY: 'auto' });
    this.#starts = [
      () => pipeline.api(this.#env),
      () => pipeline.courier(this.#env),
      attestor,
      attestor,
      () => pipeline.worker(1, { ...clock, ...SHORT_LEASE }),
    ];
  }

  static async open(): Promise<House> {
    const date = new OtherDate();
    const clock = date.from(MONTH_END_MS - LEFT_MS);
    const pipeline = await Pipeline.prepare([NOOP_MODEL, BY_HAND_MODEL], { redisEnv: clock });
    const pools = pipeline.workerKeys.map(() => ['default', 'hands']);
    pipeline.enrolWithPools(pools, { expires: new Date(NEXT_MONTH_MS + 7 * DAY_MS).toISOString() });
    const house = new House(pipeline, date, clock);
    for (const start of house.#starts) house.#running.push(await start());
    house.operator = await pipeline.client('operator');
    for (const [name, limits] of Object.entries(LIMITS)) {
      await house.operator.post('/v1/admin/tenants', { name, limits });
      house.tenants.push({ name, client: new Client(pipeline.url, await pipeline.key(name)) });
      house.#most.set(name, limits);
    }
    return house;
  }

  /** Kills one of the roles or Redis, and starts it again. */
  async kill(at: number): Promise<void> {
    const start = this.#starts[at];
    if (start === undefined) {
      await this.pipeline.redis.kill();
      return this.pipeline.redis.restart();
    }
    this.#running[at]?.process.kill('SIGKILL');
    await this.#running[at]?.exited;
    this.#running[at] = await start();
  }

  /** Whether its month ends by itself. */
  get hasDate(): boolean {
    return this.#date.isPossible;
  }

  get roles(): number {
    return this.#starts.length;
  }

  readonly change = (name: string, body: object): Promise<unknown> =>
    until(async () => {
      this.operator.url = this.pipeline.url;
      const answer = await this.operator
        .fetch(`/v1/admin/tenants/${name}`, {
          method: 'PATCH',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
        .catch(() => undefined);
      return answer !== undefined && answer.status < 500 && answer;
    });

  changePrices(): void {
    this.#prices += 1;
    this.pipeline.file('prices.json', prices(this.#prices));
    for (const role of this.#running.slice(0, 2)) role.process.kill('SIGHUP');
  }

  /** The budgets of a tenant become more or less than they are, as it is drawn. */
  async changeLimits(money: DrawnMoney): Promise<void> {
    const name = BUDGETED[money.below(BUDGETED.length)] ?? 'in-all';
    const limits = Object.fromEntries(
      Object.entries(LIMITS[name] ?? {}).map(([limit, amount]) => [
        limit,
        Math.floor((amount * (5 + money.below(11))) / 10),
      ]),
    );
    const most = this.#most.get(name);
    this.#most.set(
      name,
      Object.fromEntries(
        Object.entries(limits).map(([limit, amount]) => [limit, Math.max(amount, most?.[limit] ?? 0)]),
      ),
    );
    await this.change(name, { limits });
  }

  /** What is counted of each budget in each period that it has had, and the most that it has ever been. */
  async spent(): Promise<{ readonly what: string; readonly amount: number; readonly most: number }[]> {
    const { admin, keys } = this.pipeline.redis;
    const found = [];
    for (const [tenant, limits] of this.#most)
      for (const { name, unit, span } of BUDGETS) {
        const most = limits[name];
        if (most === undefined) continue;
        const spans = { total: [''], month: PERIODS.map((day) => day.slice(0, 7)), day: PERIODS }[span];
        for (const period of spans) {
          const amount =
            period === ''
              ? await admin.hget(keys.account(tenant), `${UNITS[unit]}:spent`)
              : await admin.hget(keys.spent(tenant, period), UNITS[unit]);
          found.push({ what: `${tenant} ${name} ${period}`, amount: Number(amount ?? 0), most });
        }
      }
    return found;
  }

  /**
   * From now on it is the next month, as the clocks have it; without such clocks, in the places of ends
   * alone, which only grow. Redis may forget that.
   */
  async endMonth(): Promise<void> {
    const { admin, keys } = this.pipeline.redis;
    if (this.hasDate) {
      await until(async () => Number((await admin.time())[0]) * 1_000 >= MONTH_END_MS, 2 * LEFT_MS);
      return;
    }
    await admin.zadd(keys.ended, NEXT_MONTH_MS, 'job_that_nobody_knows').catch(() => undefined);
  }

  /** Closes the month as a courier does two days after its end. */
  async closeMonth(): Promise<void> {
    const { redis, apiKey } = this.pipeline;
    const parts = { redis: redis.client('api'), keys: redis.keys, signingKey: apiKey, ...this.#books() };
    const nowMs = () => Promise.resolve(NEXT_MONTH_MS + 2 * DAY_MS);
    await new LedgerCloser({ ...parts, nowMs }, createLogger('test', 'fatal')).closeAll();
    await until(async () => (await redis.admin.hlen(redis.keys.logRequests)) === 0);
  }

  /** What `countersign ledger check` finds, in the next month. */
  async audits(): Promise<Map<string, LedgerAudit>> {
    const names = this.tenants.map(({ name }) => name);
    jest.useFakeTimers({ now: NEXT_MONTH_MS, doNotFake: NOT_PLAYED });
    try {
      return new Map((await auditLedgers(this.#books(), names)).map((audit) => [audit.tenant, audit]));
    } finally {
      jest.useRealTimers();
    }
  }

  #books() {
    const { redis, keyring, folder } = this.pipeline;
    const files = { keyring, blobs: join(folder, 'blobs'), log: join(folder, 'log') };
    return booksOf(redis.client('api'), redis.keys, files);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pipeline[Symbol.asyncDispose]();
    this.#date[Symbol.dispose]();
  }
}

/** Jobs that are done by the archive, each with what its documents or its stub come to. */
async function receiptsOf(house: House): Promise<Map<string, { tenant: string; due: number; isErased: boolean }>> {
  const found = new Map<string, { tenant: string; due: number; isErased: boolean }>();
  for await (const items of new JobArchive(new FolderTree(join(house.pipeline.folder, 'log'))).tiles())
    for (const { job } of items) {
      if (job === undefined) continue;
      const record = openAny(job.record);
      expect([job.id, record.ending.state, found.has(job.id)]).toEqual([job.id, 'done', false]);
      found.set(job.id, {
        tenant: record.tenant,
        due: await dueOf(house, job.id, record),
        isErased: 'erasedMs' in record,
      });
    }
  return found;
}

/** What the receipt that its owner gets comes to; of an erased job what its stub says. */
async function dueOf(house: House, id: string, record: ReturnType<typeof openAny>): Promise<number> {
  const client = house.tenants.find(({ name }) => name === record.tenant)?.client;
  if (client === undefined) throw new Error(`Whose job is ${id}?`);
  const job = await client.job(id);
  expect([id, job.state]).toEqual([id, 'done']);
  if ('erasedMs' in record || (await client.fetch(`/v1/jobs/${id}/output`)).status === 410) {
    expect([id, (await client.fetch(`/v1/jobs/${id}/output`)).status]).toEqual([id, 410]);
    return 'erasedMs' in record ? (record.charge ?? 0) : Number.NaN;
  }
  const output = await client.output(id);
  const { ticket, evidence, verdict } = verifyReceipt(await client.receipt(id), house.pipeline.keyring, { output });
  return chargeOf(ticket, evidence, verdict);
}

/** The ids of all jobs that a tenant's batches have answered with, and how often each line was answered. */
async function delivered(house: House, { name, client }: Tenant): Promise<{ jobs: Set<string>; twice: string[] }> {
  const openai = openaiOf(house.pipeline, client.key);
  const jobs = new Set<string>();
  const twice: string[] = [];
  for await (const batch of openai.batches.list({ limit: 100 })) {
    expect([name, batch.id, OVER.includes(batch.status)]).toEqual([name, batch.id, true]);
    const lines = new Set<string>();
    for (const file of [batch.output_file_id, batch.error_file_id].filter((id) => id != null))
      for (const text of (await (await openai.files.content(file)).text()).split('\n').filter((one) => one !== '')) {
        const line = JSON.parse(text) as { custom_id: string };
        if (lines.has(line.custom_id)) twice.push(`${batch.id} ${line.custom_id}`);
        lines.add(line.custom_id);
        if (file === batch.output_file_id) for (const [id] of text.matchAll(/job_[0-9a-z]{30}/g)) jobs.add(id);
      }
    expect([batch.id, lines.size]).toEqual([batch.id, batch.request_counts?.total]);
  }
  return { jobs, twice };
}

/** Refutes, once each, the jobs for which nobody works; returns how many it has lied about. */
async function lie(money: DrawnMoney, pipeline: Pipeline, signal: AbortSignal): Promise<number> {
  const liar = pipeline.hand(4, undefined, 'hands');
  let lies = 0;
  for (let at = 0; !signal.aborted;) {
    const id = money.byHand[at];
    if (id === undefined) {
      await pause(100);
      continue;
    }
    at += 1;
    try {
      const claimed = await liar.tryClaim(id);
      if (claimed.kind !== 'ok') continue;
      const output = liar.honestOutput(claimed.claim);
      const signed = liar.sign(liar.evidence(claimed.claim, output));
      await liar.claims.commitEvidence(claimed.claim, signed, output.replace(/[0-9a-f]{64}/, '0'.repeat(64)));
      lies += 1;
    } catch {
      // Redis was killed meanwhile: the claim is lost, or was heard and runs out.
    }
  }
  return lies;
}

/** Kills, changes prices and ends the month, as it is drawn; returns how many faults there were. */
async function inflict(house: House, money: DrawnMoney, isOlder: boolean, signal: AbortSignal): Promise<number> {
  let round = 0;
  for (; !signal.aborted || round < FAULTS; round += 1) {
    if (isOlder && round % 4 === 1) {
      keep(house.pipeline, `older-${round}`);
      await pause(1_000 + money.below(3_000));
      await comeBackWith(house.pipeline, `older-${round}`);
    } else await house.kill(money.below(house.roles + 1));
    if (round % 3 === 0) house.changePrices();
    await house.changeLimits(money);
    if (!house.hasDate && round >= FAULTS / 2) await house.endMonth();
    await pause(money.below(1_000));
  }
  return round;
}

/** All work is sent, by several at a time; one tenant is disabled in the middle of it. */
async function work(house: House, money: DrawnMoney, seed: number): Promise<void> {
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    for (let at = lane; at < PIECES; at += LANES) {
      if (at === PIECES / 2) await house.change('fallen', { disabled: true, work: 'stop' });
      const tenant = house.tenants[money.below(house.tenants.length)];
      if (tenant !== undefined) await money.piece(tenant, `${seed} ${at}`);
    }
  });
  await Promise.all(lanes);
}

/** Nothing stands in the way of what is left, and all of it ends and is entered. */
async function settle({ pipeline, tenants, change, clock }: House): Promise<void> {
  const { admin, keys } = pipeline.redis;
  await change('slow', { limits: {} });
  await change('fallen', { disabled: false });
  for (const { client } of tenants) client.url = pipeline.url;
  await pipeline.worker(3, { ...clock, ...SHORT_LEASE }, 'hands');
  await until(async () => (await admin.zcard(keys.batches)) === 0);
  await until(async () => (await admin.zcard(keys.open)) + (await admin.zcard(keys.unsealed)) === 0);
  await until(async () => {
    const [, newest = '0'] = await admin.zrange(keys.ended, '-1', '-1', 'WITHSCORES');
    return Number(await admin.hget(keys.jobEnds, 'cursor')) >= Number(newest);
  });
}

/** The ledgers are what the receipts come to, whatever kept them; returns these. */
async function expectBalance(house: House, isOlder: boolean) {
  const receipts = await receiptsOf(house);
  const audits = await house.audits();
  for (const { name } of house.tenants) {
    const spent = [...receipts.values()].reduce((sum, { tenant, due }) => sum + (tenant === name ? due : 0), 0);
    const { problems, sums = [] } = audits.get(name) ?? {};
    expect([name, problems]).toEqual([name, []]);
    const isEmpty = spent === 0 && sums.length === 0;
    expect([name, sums]).toEqual([name, isEmpty ? [] : [{ currency: 'EUR', spent, held: 0 }]]);
  }
  // What a Redis has forgotten that was spent, it lets be spent again.
  if (!isOlder) expect((await house.spent()).filter(({ amount, most }) => amount > most)).toEqual([]);
  return receipts;
}

describe('what is charged is what was delivered or can be fetched', () => {
  test.each(SEEDS)(
    'seed %i: whoever dies, whatever changes, over the end of a month',
    async (seed) => {
      await using house = await House.open();
      const { pipeline, tenants } = house;
      const { admin, keys } = pipeline.redis;
      const money = new DrawnMoney(pipeline, drawsOf(seed));
      const stop = new AbortController();
      const faults = inflict(house, money, hasOlderFiles(seed), stop.signal);
      const lies = lie(money, pipeline, stop.signal);
      await work(house, money, seed).finally(() => stop.abort());
      const happened = { seed, faults: await faults, lies: await lies, batches: money.batches.length };
      await house.endMonth();
      await settle(house);

      const receipts = await expectBalance(house, hasOlderFiles(seed));
      const budgets = (await house.spent()).map(({ what, amount, most }) => `${what}: ${amount} of ${most}`);
      process.stderr.write(`${JSON.stringify({ ...happened, receipts: receipts.size, budgets })}\n`);
      for (const tenant of tenants) {
        const { twice, jobs } = await delivered(house, tenant);
        expect(twice).toEqual([]);
        for (const id of jobs) expect([id, receipts.has(id)]).toEqual([id, true]);
      }
      // The month is closed, what was not to be kept is erased, and nothing else has changed.
      await house.closeMonth();
      for (const id of await admin.zrange(keys.erasures, '0', '-1')) await admin.zadd(keys.erasures, 0, id);
      await until(async () => (await admin.zcard(keys.erasures)) === 0);
      const after = await expectBalance(house, hasOlderFiles(seed));
      expect([...after.keys()]).toEqual([...receipts.keys()]);
      // A seed of which nothing came has shown nothing.
      expect(receipts.size).toBeGreaterThan(PIECES / 2);
      expect((await admin.hlen(keys.ledgerPeriods('rich'))) + (await admin.scard(keys.ledgers))).toBeGreaterThan(1);
    },
    900_000,
  );
});
