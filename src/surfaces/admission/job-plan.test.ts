import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { Catalog, CatalogModel } from '../../core/catalog/catalog.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { Params, Ticket } from '../../proof/receipts/statements.ts';
import { MAX_SEED } from '../../proof/tasks/sampling.ts';
import { MAX_INPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { PriceTable } from '../ledger/price-table.ts';
import { AttestationOffer } from './attestation-offer.ts';
import { newTicket, planJob } from './job-plan.ts';

const SHA256 = '1'.repeat(64);
const LLAMA = CatalogModel.parse({
  name: 'kjv',
  pool: 'default',
  tasks: ['completion'],
  engine: 'llama',
  file: 'kjv.gguf',
  sha256: SHA256,
});
const SERVED = CatalogModel.parse({
  name: 'served',
  pool: 'default',
  tasks: ['completion', 'chat'],
  engine: 'openai',
  baseUrl: 'http://127.0.0.1:1',
  remoteModel: 'served',
  replay: { baseUrl: 'http://127.0.0.1:2', endTokens: [0] },
  sha256: SHA256,
});
// Never connects: what is planned here is decided before Redis is asked who is there.
const redis = new Redis({ lazyConnect: true, enableOfflineQueue: false });
const PARTS = {
  catalog: new Catalog([LLAMA, SERVED]),
  prices: PriceTable.parse(
    JSON.stringify({ version: 1, id: 'v1', currency: 'USD', models: { kjv: { input: 1_000_000 } } }),
    'prices',
  ),
  defaultRecompute: 0,
  offer: new AttestationOffer(redis, new RedisKeys('cs')),
  clock: { nowMs: () => Promise.resolve(Date.now()) },
};

const job = (change: object = {}) =>
  SubmitJob.parse({ model: 'kjv', task: 'completion', input: { prompt: 'a' }, ...change });

async function refusal(change: object): Promise<string> {
  return planJob(PARTS, job(change)).then(
    () => 'none',
    (error: unknown) => (error instanceof CodedError ? `${error.code}: ${error.message}` : String(error)),
  );
}

describe('the plan of a job', () => {
  test('has every parameter filled in, and a seed of its own unless the job names one', async () => {
    const { params, attempts, inputBytes, price } = await planJob(PARTS, job());
    expect(params).toMatchObject({ max_tokens: 128, temperature: 0, top_p: 1, stop: [] });
    expect([attempts, inputBytes]).toEqual([3, '{"prompt":"a"}'.length]);
    expect(price?.hold).toBe(inputBytes + 64);
    const seeds = await Promise.all(Array.from({ length: 20 }, async () => (await planJob(PARTS, job())).params.seed));
    expect(new Set(seeds).size).toBeGreaterThan(15);
    expect((await planJob(PARTS, job({ params: { seed: 7 } }))).params.seed).toBe(7);
  });

  test('becomes a ticket that holds everything that can change the answer, and never the same nonce', async () => {
    const plan = await planJob(PARTS, job());
    const times = { createdMs: 1_790_000_000_000, deadlineMs: 1_790_000_600_000 };
    const id = 'job_p00101jabcdefghjkmnpqrstvwxyz0';
    const facts = { id, tenant: 'acme', task: 'completion', inputSha256: SHA256, ...times } as const;
    const [first, second] = [newTicket(plan, facts), newTicket(plan, facts)];
    expect(Ticket.parse(first)).toEqual(first);
    expect(first.predicate).toMatchObject({ job: id, tenant: 'acme', model: { name: 'kjv', sha256: SHA256 } });
    expect(first.predicate.nonce).not.toBe(second.predicate.nonce);
  });

  test('whatever numbers are asked: what is taken draws the same on every engine', async () => {
    const number = fc.oneof(
      fc.constantFrom(0, -0, 1, 2, 5e-324, 1e-40, 0.01, MAX_SEED, MAX_SEED + 1, 131_072),
      fc.double({ min: 0, max: 2, noNaN: true }),
      fc.nat({ max: 2 ** 32 }),
    );
    const names = ['temperature', 'top_p', 'seed', 'max_tokens'];
    const params = fc.record(Object.fromEntries(names.map((name) => [name, number])), { requiredKeys: [] });
    await fc.assert(
      fc.asyncProperty(params, async (wanted) => {
        const asked = SubmitJob.safeParse({ model: 'kjv', task: 'completion', input: { prompt: 'a' }, params: wanted });
        if (!asked.success) return;
        const drawn = (await planJob(PARTS, asked.data)).params;
        expect(Params.safeParse(drawn).success).toBe(true);
        expect(drawn.seed).toBeLessThanOrEqual(MAX_SEED);
        expect(drawn.temperature === 0 || drawn.temperature >= 0.01).toBe(true);
      }),
    );
  });

  test('of a model whose answers cannot be repeated promises no recomputation unless it is asked for', async () => {
    const plan = await planJob({ ...PARTS, defaultRecompute: 1 }, job({ model: 'served' }));
    expect(plan.policy).toEqual({ recompute: 0 });
  });
});

describe('a job is refused', () => {
  test.each([
    ['for a model that is not there', { model: 'other' }, 'model_not_found: There is no model named "other"'],
    ['without its name going into the terminal unprinted', { model: 'a\u001b[31m' }, 'no model named "a?[31m"'],
    [
      'for a task that the model does not do',
      { task: 'embedding', input: { texts: ['a'] } },
      'task_not_supported: The model kjv does completion, not embedding',
    ],
    [
      'when recomputation is asked of answers that cannot be repeated',
      { model: 'served', attestation: { recompute: 1 } },
      'attestation_unavailable',
    ],
    [
      'when a replay is asked of a sampler that drops tokens',
      { attestation: { tokens: 1 }, params: { top_p: 0.9 } },
      'attestation_unavailable: Tokens can be replayed where the task writes text and top_p is 1',
    ],
    [
      'when a replay is asked of a server at a temperature above 1',
      { model: 'served', attestation: { tokens: 1 }, params: { temperature: 1.5 } },
      'attestation_unavailable: Tokens of served can be replayed at temperatures up to 1',
    ],
  ])('%s', async (_name, change, said) => {
    expect(await refusal(change)).toContain(said);
  });

  test('when its input is larger than any worker reads', async () => {
    const body: SubmitJob = {
      model: 'kjv',
      task: 'completion',
      input: { prompt: 'ß'.repeat(MAX_INPUT_BYTES / 2) },
    };
    await expect(planJob(PARTS, body)).rejects.toMatchObject({ code: 'body_too_large' });
  });
});
