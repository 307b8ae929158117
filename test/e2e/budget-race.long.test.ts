import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { toFile } from 'openai';
import type { Limits } from '../../src/surfaces/tenants/limits.ts';
import { openaiOf } from '../support/openai.ts';
import { BY_HAND_MODEL, Client, Pipeline, completion, until } from '../support/pipeline.ts';

/** Nobody works: what is accepted stays open, and its hold stands. */
const PRICES = { version: 1, id: 'v1', currency: 'EUR', models: { 'by-hand': { input: 0, output: 1_000_000 } } };
const REQUESTS = 700;
const LINES = 150;
const BATCHES = 2;
const size = (at: number) => 1 + ((at * 7_919) % 97);

let pipeline: Pipeline;
let operator: Client;
let urls: string[];
beforeAll(async () => {
  pipeline = await Pipeline.prepare([BY_HAND_MODEL]);
  const env = { COUNTERSIGN_PRICES: pipeline.file('prices.json', PRICES) };
  const [one, two] = await Promise.all([
    pipeline.api(env),
    pipeline.api(env),
    pipeline.courier(env),
    pipeline.courier(env),
    pipeline.attestor(),
  ]);
  urls = [one, two].map(({ facts }) => String(facts['url']));
  operator = await pipeline.client('operator');
});
afterAll(() => pipeline[Symbol.asyncDispose]());

/** Two keys, of which the second is what the first was rotated to; both go on for a while. */
async function keysOf(tenant: string, limits: Limits): Promise<string[]> {
  const path = `/v1/admin/tenants/${tenant}/keys`;
  const made = await operator.post(path, { scopes: ['submit', 'read', 'read_all'], limits });
  const { key, id } = (await made.json()) as { key: string; id: string };
  const rotated = await operator.post(`/v1/admin/keys/${id}/rotate`, { overlap_seconds: 3_600 });
  return [key, ((await rotated.json()) as { key: string }).key];
}

async function batchOf(key: string, first: number): Promise<string> {
  const client = openaiOf(pipeline, key);
  const lines = Array.from({ length: LINES }, (_, at) =>
    JSON.stringify({
      custom_id: `l${at}`,
      method: 'POST',
      url: '/v1/completions',
      body: { model: 'by-hand', prompt: 'x', max_tokens: size(first + at) },
    }),
  );
  const file = await client.files.create({ file: await toFile(Buffer.from(lines.join('\n'))), purpose: 'batch' });
  const asked = { input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' } as const;
  return (await client.batches.create(asked)).id;
}

test.each([
  ['spend', 'EUR', 'tenant'],
  ['spend_per_month', 'EUR', 'key'],
  ['tokens_per_day', 'tokens', 'tenant'],
  ['tokens', 'tokens', 'key'],
  ['requests_per_month', 'requests', 'key'],
  ['concurrent_jobs', 'jobs', 'key'],
  ['concurrent_jobs', 'open', 'tenant'],
] as const)(
  'a budget of %s (%s, of the %s) holds to the last unit against two APIs and two couriers at once, on a key and on what it was rotated to',
  async (name, unit, of) => {
    const tenant = `${name}-${unit}-${of}`.replaceAll('_', '-').toLowerCase();
    const { admin, keys } = pipeline.redis;
    const limit = { EUR: 9_001, tokens: 15_001, requests: 160, jobs: 120, open: 120 }[unit];
    await operator.post('/v1/admin/tenants', { name: tenant, limits: of === 'tenant' ? { [name]: limit } : {} });
    const both = await keysOf(tenant, of === 'key' ? { [name]: limit } : {});
    const send = (at: number, tokens: number) =>
      new Client(urls[at % 2] ?? '', both[Math.floor(at / 2) % 2] ?? '').post(
        '/v1/jobs',
        completion('x', { model: 'by-hand', params: { max_tokens: tokens } }),
      );
    const open = () => admin.zcard(keys.openOf(tenant));
    const taken = async () => {
      if (unit === 'open') return open();
      const books = await admin.hgetall(keys.account(tenant));
      const isOurs = (field: string) => (of === 'tenant' ? field.startsWith(`${unit}:`) : field.includes(`:${unit}:`));
      return Object.entries(books).reduce((sum, [field, amount]) => sum + (isOurs(field) ? Number(amount) : 0), 0);
    };
    expect((await send(0, 1)).status).toBe(202);
    // What a request takes beside the tokens that it may generate.
    const beside = (await taken()) - 1;
    const takes = (at: number) => (unit === 'EUR' || unit === 'tokens' ? beside + size(at) : 1);

    const batches = await Promise.all(
      Array.from({ length: BATCHES }, (_, at) => batchOf(both[at % 2] ?? '', at * LINES)),
    );
    const answers = await Promise.all(
      Array.from({ length: REQUESTS }, async (_, at) => (await send(at, size(at))).status),
    );
    expect(answers.filter((status) => status !== 202 && status !== 429)).toEqual([]);
    // Lines that still fit come in.
    let [before, same] = [-1, 0];
    await until(async () => {
      const now = await taken();
      expect(now).toBeLessThanOrEqual(limit);
      same = now === before ? same + 1 : 0;
      before = now;
      return same >= 20;
    });
    const took = await taken();
    process.stdout.write(
      `${tenant}: ${took} of ${limit} in ${await open()} jobs, ${answers.filter((one) => one === 202).length} by the API\n`,
    );
    // What is left only shrinks here: whoever fits at the end fitted at any time.
    const wrong = answers.filter((status, at) => status === 429 && takes(at) <= limit - took);
    expect(wrong).toEqual([]);
    for (const id of batches) await openaiOf(pipeline, both[1] ?? '').batches.cancel(id);
    await until(async () => (await admin.zcard(keys.batches)) === 0);
    for (const id of await admin.zrange(keys.openOf(tenant), '0', '-1'))
      await new Client(urls[0] ?? '', both[1] ?? '').post(`/v1/jobs/${id}/cancel`, undefined);
    await until(async () => (await open()) === 0);
    const held = Object.entries(await admin.hgetall(keys.account(tenant))).filter(([field]) => field.endsWith(':held'));
    expect(held.filter(([, amount]) => amount !== '0')).toEqual([]);
  },
  120_000,
);
