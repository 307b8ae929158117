import { describe, expect, test } from '@jest/globals';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { BATCH_ENDPOINTS, readBatchRequest, type BatchEndpoint } from './batch-request.ts';

const BODIES = {
  '/v1/chat/completions': { model: 'm', messages: [{ role: 'user', content: 'hello' }] },
  '/v1/completions': { model: 'm', prompt: 'hello' },
  '/v1/embeddings': { model: 'm', input: ['a', 'b'] },
  '/v1/responses': { model: 'm', input: 'hello' },
} as const satisfies Record<BatchEndpoint, object>;

function refusal(endpoint: BatchEndpoint, body: unknown): [string, string | undefined] | undefined {
  try {
    readBatchRequest(endpoint, body);
  } catch (error) {
    if (error instanceof CodedError) return [error.code, error.param];
    throw error;
  }
  return undefined;
}

describe('the body of a line', () => {
  test.each(BATCH_ENDPOINTS)('of %s is jobs of the model that it names', (endpoint) => {
    const { jobs } = readBatchRequest(endpoint, BODIES[endpoint]);
    expect(jobs.length).toBeGreaterThan(0);
    expect(new Set(jobs.map(({ model }) => model))).toEqual(new Set(['m']));
  });

  test('is kept with the job only where its answer can be asked for again', () => {
    const surfaces = BATCH_ENDPOINTS.map((endpoint) => readBatchRequest(endpoint, BODIES[endpoint]).surface);
    expect(surfaces.filter((surface) => surface !== undefined)).toHaveLength(1);
  });

  test.each([
    ['/v1/completions', { stream: true }, 'stream'],
    ['/v1/chat/completions', { stream: true }, 'stream'],
    ['/v1/responses', { stream: true }, 'stream'],
    ['/v1/responses', { background: true }, 'background'],
    ['/v1/completions', { prompt: undefined }, 'prompt'],
  ] as const)('of %s with %j is refused by that name', (endpoint, change, param) => {
    expect(refusal(endpoint, { ...BODIES[endpoint], ...change })).toEqual(['request_invalid', param]);
  });

  test('of responses cannot be answered without its job', () => {
    expect(() => readBatchRequest('/v1/responses', BODIES['/v1/responses']).answer([])).toThrow('one job');
  });
});
