import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { toFile } from 'openai';
import pino from 'pino';
import { Admission, type SubmitOptions } from '../../src/surfaces/admission/admission.ts';
import type { Submitter } from '../../src/surfaces/admission/pending-job.ts';
import { Jobs } from '../../src/core/jobs/jobs.ts';
import { Wake } from '../../src/core/jobs/wake.ts';
import { loadConfig } from '../../src/ground/config/load-config.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import { RedisKeys } from '../../src/ground/redis/keys.ts';
import { CourierConfig } from '../../src/roles/courier/courier-config.ts';
import { BatchAnswers } from '../../src/surfaces/batches/batch-answers.store.ts';
import { BatchFiles } from '../../src/surfaces/batches/batch-files.store.ts';
import { BatchRunner } from '../../src/surfaces/batches/batch-runner.ts';
import { Batches } from '../../src/surfaces/batches/batch.store.ts';
import { Completions } from '../../src/surfaces/openai/completions.ts';
import type { Asked } from '../../src/surfaces/openai/requests.ts';
import { ServiceModule } from '../../src/surfaces/service/service.module.ts';
import { ApiKeys } from '../../src/surfaces/tenants/api-key.store.ts';
import type { Limits } from '../../src/surfaces/tenants/limits.ts';
import { FastClock } from '../support/fast-clock.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, NOOP_MODEL, Pipeline, until } from '../support/pipeline.ts';

/** How many times as fast as ours the time of the courier goes. That of Redis goes as ours. */
const SPEED = 60;
const MINUTE_MS = 60_000 / SPEED;
const WINDOW_MINUTES = 20;
const WINDOWS = 6;
const LINES = 200;

/** Its pool is drained in the first hour, and paused in the second. */
const CLOSED_MODEL = { ...NOOP_MODEL, name: 'closed', pool: 'gold' };
const PRICES = { version: 1, id: 'v1', currency: 'EUR', models: { noop: { input: 0, output: 1_000_000 } } };

/** Who waits, and for what. */
interface Waiting {
  readonly model: string;
  readonly limits?: Limits;
  readonly keyLimits?: Limits;
}
const WAITING: Readonly<Record<string, Waiting>> = {
  'for-tokens': { model: 'noop', limits: { tokens_per_minute: 30 } },
  'for-requests': { model: 'noop', limits: { requests_per_minute: 1 } },
  'for-places': { model: 'noop', limits: { concurrent_jobs: 3 } },
  'for-places-of-a-key': { model: 'noop', keyLimits: { concurrent_jobs: 1 } },
  'for-money': { model: 'noop', limits: { spend: 50 } },
  'for-tokens-of-the-day': { model: 'noop', limits: { tokens_per_day: 400 } },
  'for-running': { model: 'noop', limits: { running_jobs: 1 } },
  'for-workers': { model: 'by-hand' },
  'for-a-pool': { model: 'closed' },
};
/** What lines are refused with, each of which must have come. */
const REFUSALS = ['rate_limited', 'spend_held', 'pool_draining', 'storage_full'];

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Admits as ever, and counts the refusals. */
class CountedCompletions extends Completions {
  readonly refusals = new Map<string, number>();

  override async submit(submitter: Submitter, asked: Pick<Asked, 'jobs'>, options: SubmitOptions) {
    try {
      return await super.submit(submitter, asked, options);
    } catch (error) {
      const code = error instanceof CodedError ? error.code : 'nameless';
      this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
      throw error;
    }
  }
}

/** A courier's batches in this process, by a clock that is played. */
async function fastCourier(pipeline: Pipeline, env: Record<string, string>) {
  const lines: string[] = [];
  const log = new Writable({
    write(line: Buffer, _encoding, done) {
      lines.push(line.toString());
      done();
    },
  });
  const logger = pino({ level: 'info' }, log);
  const config = loadConfig(CourierConfig, { ...pipeline.environment('courier'), ...env });
  const house = await NestFactory.createApplicationContext(ServiceModule.with(config, logger), { logger: false });
  const [redis, keys, files, wake] = [house.get(Redis), house.get(RedisKeys), house.get(BatchFiles), house.get(Wake)];
  const completions = new CountedCompletions({ admission: house.get(Admission), jobs: house.get(Jobs), wake });
  const answers = new BatchAnswers(redis, keys, files);
  const apiKeys = house.get(ApiKeys);
  const clock = new FastClock(SPEED);
  const runner = new BatchRunner(
    { redis, keys, batches: house.get(Batches), files, answers, completions, apiKeys, clock },
    logger,
  );
  wake.start();
  runner.start();
  return {
    lines,
    refusals: completions.refusals,
    async [Symbol.asyncDispose]() {
      await runner.stop();
      wake.stop();
      await house.close();
    },
  };
}

const input = (model: string) =>
  Array.from({ length: LINES }, (_, at) =>
    JSON.stringify({
      custom_id: `l${at}`,
      method: 'POST',
      url: '/v1/completions',
      body: { model, prompt: `p ${at}`, max_tokens: 8 },
    }),
  ).join('\n');

test('batches that wait for two hours, each for something else, cost at the end what they cost at first', async () => {
  await using pipeline = await Pipeline.prepare([NOOP_MODEL, CLOSED_MODEL, BY_HAND_MODEL]);
  const env = { COUNTERSIGN_PRICES: pipeline.file('prices.json', PRICES) };
  const [, worker] = await Promise.all([pipeline.api(env), pipeline.worker(1), pipeline.attestor()]);
  const operator = await pipeline.client('operator');
  const { admin, keys } = pipeline.redis;
  // Its workers are there, and do nothing: what is accepted waits with what is not.
  await pipeline.freeze(worker);
  const change = (path: string, to: object) =>
    operator.fetch(`/v1/admin/${path}`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(to),
    });
  expect((await change('pools/gold', { state: 'draining' })).status).toBe(200);

  const batches: { readonly name: string; readonly client: ReturnType<typeof openaiOf>; readonly id: string }[] = [];
  const begin = async (name: string, { model, limits = {}, keyLimits = {} }: Waiting) => {
    await operator.post('/v1/admin/tenants', { name });
    const made = await operator.post(`/v1/admin/tenants/${name}/keys`, {
      scopes: ['submit', 'read', 'read_all'],
      limits: keyLimits,
    });
    const client = openaiOf(pipeline, ((await made.json()) as { key: string }).key);
    const file = await client.files.create({ file: await toFile(Buffer.from(input(model))), purpose: 'batch' });
    const asked = { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' } as const;
    batches.push({ name, client, id: (await client.batches.create(asked)).id });
    await change(`tenants/${name}`, { limits });
  };
  for (const [name, waiting] of Object.entries(WAITING)) await begin(name, waiting);

  await using courier = await fastCourier(pipeline, env);
  await until(async () => {
    const all = await Promise.all(batches.map(({ id }) => admin.hget(keys.batch(id), 'status')));
    return all.every((status) => status === 'in_progress');
  });
  await fillStorage(admin);
  await pipeline.redis.kill();
  await pause(MINUTE_MS);
  await pipeline.redis.restart();
  await until(async () => (await admin.zcard(keys.batches)) === batches.length);
  await pause(WINDOW_MINUTES * MINUTE_MS);
  const marks: Mark[] = [await markOf(admin, courier)];
  for (let window = 0; window < WINDOWS; window += 1) {
    if (window === WINDOWS / 2) await change('pools/gold', { state: 'paused' });
    await pause(WINDOW_MINUTES * MINUTE_MS);
    marks.push(await markOf(admin, courier));
  }
  const windows = marks.slice(1).map((mark, at) => spent(marks[at] ?? mark, mark));
  process.stdout.write(
    `${windows.map((one) => JSON.stringify(one)).join('\n')}\n${JSON.stringify(Object.fromEntries(courier.refusals))}\n`,
  );
  for (const code of REFUSALS) expect([code, (courier.refusals.get(code) ?? 0) > 0]).toEqual([code, true]);
  const [first, last] = [windows[0], windows.at(-1)];
  if (first === undefined || last === undefined) throw new Error('There is no window.');
  // What grew with the time would be six times as much. How much is done depends on the machine, too: where
  // it is slow, this clock is ahead of it.
  expect(last.commands).toBeLessThan(2 * first.commands);
  expect(last.tries).toBeLessThan(2 * first.tries);
  expect(last.lines).toBeLessThanOrEqual(first.lines + WINDOW_MINUTES);
  // Time of the processor, which no other process takes.
  expect(last.cpuMs).toBeLessThan(2 * first.cpuMs);
  expect(last.heapMb - first.heapMb).toBeLessThan(3);
  // In the second hour nothing is accepted any more.
  const hour = windows[WINDOWS / 2] ?? first;
  expect(last.keys - hour.keys).toBeLessThan(100);
  expect(last.redisMb - hour.redisMb).toBeLessThan(0.5);

  // What they waited for comes, and every line is answered.
  for (const { name } of batches) await change(`tenants/${name}`, { limits: {} });
  await change('pools/gold', { state: 'open' });
  worker.process.kill('SIGCONT');
  await Promise.all([pipeline.worker(2, {}, 'gold'), pipeline.worker(3, {}, 'hands')]);
  for (const { name, client, id } of batches) {
    const batch = await until(async () => {
      const found = await client.batches.retrieve(id);
      return !['validating', 'in_progress', 'finalizing'].includes(found.status) && found;
    }, 240_000);
    expect([name, batch.status, batch.request_counts]).toEqual([
      name,
      'completed',
      { total: LINES, completed: LINES, failed: 0 },
    ]);
  }
}, 900_000);

/** What has been used up to a moment. */
interface Mark {
  readonly heapMb: number;
  readonly redisMb: number;
  readonly keys: number;
  readonly commands: number;
  readonly cpuMs: number;
  readonly lines: number;
  readonly tries: number;
}

async function markOf(
  admin: Redis,
  courier: { readonly lines: readonly string[]; readonly refusals: ReadonlyMap<string, number> },
): Promise<Mark> {
  collect();
  const number = (text: string, name: string) => Number(new RegExp(`${name}:(\\d+)`).exec(text)?.[1]);
  const { user, system } = process.cpuUsage();
  const info = await admin.info();
  return {
    heapMb: process.memoryUsage().heapUsed / 2 ** 20,
    redisMb: number(info, 'used_memory_dataset') / 2 ** 20,
    keys: await admin.dbsize(),
    commands: number(info, 'total_commands_processed'),
    cpuMs: (user + system) / 1_000,
    lines: courier.lines.length,
    tries: [...courier.refusals.values()].reduce((sum, count) => sum + count, 0),
  };
}

/** What one window has used; of what stands, how it stands at its end. */
function spent(before: Mark, after: Mark): Mark {
  return {
    ...after,
    commands: after.commands - before.commands,
    cpuMs: after.cpuMs - before.cpuMs,
    lines: after.lines - before.lines,
    tries: after.tries - before.tries,
  };
}

/** For ten minutes the storage is as full as it may become. */
async function fillStorage(admin: Redis): Promise<void> {
  const used = Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]);
  await admin.config('SET', 'maxmemory', String(Math.ceil(used / 0.95)));
  await pause(10 * MINUTE_MS);
  await admin.config('SET', 'maxmemory', '0');
}
