import fc from 'fast-check';
import { Redis } from 'ioredis';
import { AttestationOffer } from '../../src/surfaces/admission/attestation-offer.ts';
import { planJob, type Plan } from '../../src/surfaces/admission/job-plan.ts';
import { PriceTable } from '../../src/surfaces/ledger/price-table.ts';
import { readRequest } from '../../src/surfaces/openai/requests.ts';
import { ResponseRequest, jobOf } from '../../src/surfaces/openai/response-request.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import { RedisKeys } from '../../src/ground/redis/keys.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { KJV_MODEL } from './pipeline.ts';

const MODEL = KJV_MODEL.name;

/** A number that somebody sends: ordinary ones, each border of what is taken, and beyond. */
const number = fc.oneof(
  fc.constantFrom(...[0, -0, -1, 1, 2, 5e-324, 0.01, 0.0099, 0.5, 0.7, 0.9, 1 - 1e-16, 1 + 1e-15, 2 - 1e-15]),
  fc.constantFrom(...[31, 32].flatMap((bits) => [2 ** bits - 1, 2 ** bits - 2, 2 ** bits])),
  fc.double({ min: 0, max: 2, noNaN: true }),
  fc.nat(),
);
const stop = fc.oneof(
  fc.string({ unit: fc.constantFrom('t', 'h', 'e', ' ', 'n', ',', '😀', '\uFFFD'), minLength: 1, maxLength: 6 }),
  fc.array(fc.constantFrom('e', 'the ', 'n him,', ' and', '.', '\n'), { minLength: 1, maxLength: 4 }),
);
// Mostly few, since each is drawn on two machines; the largest go on to the end of the context.
const tokens = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 1, max: 12 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 131_072, 131_073) },
);
const words = fc.oneof(
  fc.constantFrom('In the beginning', 'And God said', 'Behold'),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }),
);
const sampling = { temperature: number, top_p: number, seed: number };
const drawn = (fields: Record<string, fc.Arbitrary<unknown>>, fixed: Record<string, fc.Arbitrary<unknown>>) =>
  fc
    .tuple(fc.record(fixed), fc.record(fields, { requiredKeys: [] }))
    .map(([one, more]): Record<string, unknown> => ({ model: MODEL, ...one, ...more }));
const messages = words.map((content) => [{ role: 'user', content }]);

type Read = () => readonly unknown[];

/** Whole requests to each of the ways in: the body, and the jobs that it becomes before admission. */
export const REQUESTS: readonly (readonly [surface: string, drawn: fc.Arbitrary<{ body: unknown; read: Read }>])[] = [
  [
    '/v1/jobs',
    drawn(
      { params: fc.record({ ...sampling, stop: fc.array(words, { maxLength: 4 }) }, { requiredKeys: [] }) },
      { task: fc.constant('completion'), input: words.map((prompt) => ({ prompt })), max_tokens: tokens },
    ).map(({ max_tokens, params, ...body }) => {
      const whole = { ...body, params: Object.assign({ max_tokens }, params) };
      return { body: whole, read: () => [whole] };
    }),
  ],
  [
    '/v1/completions',
    drawn({ ...sampling, stop, n: fc.constantFrom(1, 2) }, { prompt: words, max_tokens: tokens }).map((body) => ({
      body,
      read: () => readRequest('/v1/completions', body).jobs,
    })),
  ],
  [
    '/v1/chat/completions',
    drawn({ ...sampling, stop }, { messages, max_completion_tokens: tokens }).map((body) => ({
      body,
      read: () => readRequest('/v1/chat/completions', body).jobs,
    })),
  ],
  [
    '/v1/responses',
    drawn({ temperature: number, top_p: number }, { input: words, max_output_tokens: tokens }).map((body) => ({
      body,
      read: () => [jobOf(ResponseRequest.parse(body)).job],
    })),
  ],
];

const model = CatalogModel.parse({ ...KJV_MODEL, tasks: ['completion', 'chat'] });
// Never connects: what is planned here needs nobody who is there.
const redis = new Redis({ lazyConnect: true, enableOfflineQueue: false });
const parts = {
  catalog: new Catalog([model]),
  prices: PriceTable.parse(JSON.stringify({ version: 1, id: 'v1', currency: 'USD', models: {} }), 'prices'),
  defaultRecompute: 0,
  offer: new AttestationOffer(redis, new RedisKeys('cs')),
  clock: { nowMs: () => Promise.resolve(Date.now()) },
};

/**
 * The jobs that admission makes of a request, or none where it is refused with a 4xx or by its schema. Throws
 * what is neither.
 */
export async function admitted(read: Read): Promise<{ task: SubmitJob['task']; plan: Plan }[]> {
  try {
    const jobs = read().map((job) => SubmitJob.parse(job));
    return await Promise.all(jobs.map(async (job) => ({ task: job.task, plan: await planJob(parts, job) })));
  } catch (error) {
    const isRefused = error instanceof CodedError ? error.status >= 400 && error.status < 500 : isOfSchema(error);
    if (isRefused) return [];
    throw error;
  }
}

const isOfSchema = (error: unknown): boolean => error instanceof Error && error.name === 'ZodError';
