import fc from 'fast-check';
import { Redis } from 'ioredis';
import { AttestationOffer } from '../../src/surfaces/admission/attestation-offer.ts';
import { planJob, type Plan } from '../../src/surfaces/admission/job-plan.ts';
import { PriceTable } from '../../src/surfaces/ledger/price-table.ts';
import { readRequest } from '../../src/surfaces/openai/requests.ts';
import { ResponseRequest, jobOf } from '../../src/surfaces/openai/response-request.ts';
import { Catalog, CatalogModel } from '../../src/core/catalog/catalog.ts';
import { sha256Hex } from '../../src/ground/blobs/sha256.ts';
import { CodedError } from '../../src/ground/errors/coded-error.ts';
import { RedisKeys } from '../../src/ground/redis/keys.ts';
import { SubmitJob } from '../../src/proof/contract/submit-job.ts';
import { KJV_MODEL, embedModel } from './pipeline.ts';

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
type Fields = Record<string, fc.Arbitrary<unknown>>;
const drawnFor = (model: string) => (fields: Fields, fixed: Fields) =>
  fc
    .tuple(fc.record(fixed), fc.record(fields, { requiredKeys: [] }))
    .map(([one, more]): Record<string, unknown> => ({ model, ...one, ...more }));
const messages = words.map((content) => [{ role: 'user', content }]);

type Read = () => readonly unknown[];

type Requests = readonly (readonly [surface: string, drawn: fc.Arbitrary<{ body: unknown; read: Read }>])[];

/**
 * Whole requests to each of the ways in to a model that writes: the body, and the jobs that it becomes before
 * admission.
 */
function requestsTo(model: string, more: Fields = {}): Requests {
  const drawn = drawnFor(model);
  return [
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
      drawn({ ...sampling, ...more, stop }, { messages, max_completion_tokens: tokens }).map((body) => ({
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
}

/** A text to embed: of a few words, of odd characters, of spaces, and around what the model takes at once. */
const embedded = fc.oneof(
  { weight: 6, arbitrary: words },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(' ', '\n', '\u0000', '\uFFFD', '\u200D', '\uD800', '1e309', '😀'.repeat(40)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(16_383, 16_384, 16_385).map((length) => 'word '.repeat(4_000).slice(0, length)),
  },
);
const texts = fc.oneof(embedded, fc.array(embedded, { minLength: 1, maxLength: 20 }));

function embeddingsBy(model: string): Requests {
  const drawn = drawnFor(model);
  return [
    [
      '/v1/embeddings',
      drawn(
        { dimensions: number, encoding_format: fc.constantFrom('float', 'base64', null), user: words },
        { input: texts },
      ).map((body) => ({ body, read: () => readRequest('/v1/embeddings', body).jobs })),
    ],
    [
      '/v1/jobs',
      drawn(
        { params: fc.record(sampling, { requiredKeys: [] }) },
        { task: fc.constant('embedding'), input: texts.map((all) => ({ texts: [all].flat() })) },
      ).map((body) => ({ body, read: () => [body] })),
    ],
  ];
}

const name = fc.constantFrom('f', 'get_weather', 'a'.repeat(64), 'a'.repeat(65), 'no name', '');
const tools = fc.array(
  fc.record({ type: fc.constant('function'), function: fc.record({ name, parameters: fc.constant({}) }) }),
  { maxLength: 3 },
);

/** The name of the model that a played server has; see `model-server.ts`. */
export const SERVED = 'served';
/** Requests to the demonstration model. */
export const REQUESTS = requestsTo(KJV_MODEL.name);
/** Requests to the model of embeddings. */
export const EMBEDDINGS = embeddingsBy(embedModel().name);
/** Requests to a model behind a server, with all that only such a one can do. */
export const SERVED_REQUESTS = [
  ...requestsTo(SERVED, {
    tools,
    tool_choice: fc.constantFrom('auto', 'none', 'required', null),
    parallel_tool_calls: fc.boolean(),
    response_format: fc.constantFrom({ type: 'text' }, { type: 'json_object' }, null),
    logprobs: fc.boolean(),
    top_logprobs: fc.constantFrom(0, 5, 20, 21),
    reasoning_effort: fc.constantFrom('none', 'low', 'xhigh', 'most'),
    include_reasoning: fc.boolean(),
    n: fc.constantFrom(1, 2),
  }),
  ...embeddingsBy(SERVED),
] as const;

const models = [
  { ...KJV_MODEL, tasks: ['completion', 'chat'] },
  embedModel(),
  {
    name: SERVED,
    pool: 'default',
    tasks: ['completion', 'chat', 'embedding'],
    engine: 'openai',
    sha256: sha256Hex('served'),
    baseUrl: 'http://127.0.0.1:9',
    remoteModel: 'toy',
  },
].map((model) => CatalogModel.parse(model));
// Never connects: what is planned here needs nobody who is there.
const redis = new Redis({ lazyConnect: true, enableOfflineQueue: false });
const parts = {
  catalog: new Catalog(models),
  prices: PriceTable.parse(JSON.stringify({ version: 1, id: 'v1', currency: 'USD', models: {} }), 'prices'),
  defaultRecompute: 0,
  offer: new AttestationOffer(redis, new RedisKeys('cs')),
  clock: { nowMs: () => Promise.resolve(Date.now()) },
};

/** A job as it is admitted. */
export interface Admitted {
  readonly task: SubmitJob['task'];
  readonly plan: Plan;
}

/**
 * The jobs that admission makes of a request, or none where it is refused with a 4xx or by its schema. Throws
 * what is neither.
 */
export async function admitted(read: Read): Promise<Admitted[]> {
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
