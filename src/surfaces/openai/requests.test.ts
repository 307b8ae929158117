import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { readRequest } from './requests.ts';
import { ResponseRequest, jobOf } from './response-request.ts';

const CHAT = { model: 'm', messages: [{ role: 'user', content: 'x' }] };

/** Numbers at and over every border that a parameter has. */
const WILD = fc.oneof(
  fc.constantFrom(...[0, -0, -1, 1, 2, 5e-324, 0.5, 1 - 1e-16, 1 + 1e-15, 64, 131_072, 131_073]),
  fc.constantFrom(...[31, 32, 53].flatMap((bits) => [2 ** bits - 1, 2 ** bits, -(2 ** bits)])),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.maxSafeInteger(),
);
const wildly = (...names: readonly string[]) =>
  fc.record(Object.fromEntries(names.map((name) => [name, fc.option(WILD)])), { requiredKeys: [] });
const STOP = fc.option(
  fc.oneof(fc.string({ maxLength: 70, unit: 'grapheme' }), fc.array(fc.string({ maxLength: 66 }))),
);

describe('every number that a request may carry', () => {
  const numbers = ['temperature', 'top_p', 'seed', 'n', 'max_tokens', 'max_completion_tokens', 'top_logprobs'];
  const jobsOrRefusal = (read: () => readonly unknown[]): readonly unknown[] => {
    try {
      return read();
    } catch (error) {
      if (error instanceof CodedError && error.status >= 400 && error.status < 500) return [];
      throw error;
    }
  };

  test.each([
    ['/v1/chat/completions', CHAT, wildly(...numbers)],
    ['/v1/completions', { model: 'm', prompt: 'x' }, wildly(...numbers.slice(0, 5), 'best_of')],
    ['/v1/embeddings', { model: 'm', input: 'x' }, wildly('dimensions')],
  ] as const)('of %s is refused, or makes jobs that admission takes', (endpoint, body, wild) => {
    fc.assert(
      fc.property(wild, STOP, (drawn, stop) => {
        const wanted = { ...body, ...drawn, ...(endpoint === '/v1/embeddings' ? {} : { stop }) };
        for (const job of jobsOrRefusal(() => readRequest(endpoint, wanted).jobs))
          expect([wanted, SubmitJob.safeParse(job).error?.issues]).toEqual([wanted, undefined]);
      }),
      { numRuns: 500 },
    );
  });

  test('of a response is refused, or makes a job that admission takes', () => {
    fc.assert(
      fc.property(wildly('temperature', 'top_p', 'max_output_tokens'), (drawn) => {
        const parsed = ResponseRequest.safeParse({ model: 'm', input: 'x', ...drawn });
        if (parsed.success) expect(SubmitJob.safeParse(jobOf(parsed.data).job).error?.issues).toBeUndefined();
      }),
    );
  });

  test('a seed of -1 is one that the service chooses, and each choice has its own', () => {
    const { jobs } = readRequest('/v1/chat/completions', { ...CHAT, seed: -1, n: 2 });
    expect(jobs.map(({ params }) => params?.seed)).toEqual([undefined, undefined]);
  });
});

describe('requests in the shape of OpenAI', () => {
  test('each choice is a job, and the jobs differ in their seed alone', () => {
    const { jobs } = readRequest('/v1/chat/completions', { ...CHAT, n: 3, seed: 4_294_967_294 });
    expect(jobs.map(({ params }) => params?.seed)).toEqual([4_294_967_294, 0, 1]);
    expect(new Set(jobs.map((job) => JSON.stringify({ ...job, params: null }))).size).toBe(1);
  });

  test('each prompt has its own choices', () => {
    const asked = readRequest('/v1/completions', { model: 'm', prompt: ['a', 'b'], n: 2 });
    expect(asked.jobs.map(({ input }) => input)).toEqual(['a', 'a', 'b', 'b'].map((prompt) => ({ prompt })));
    expect(asked.choicesPerPrompt).toBe(2);
  });

  test.each([
    [{ ...CHAT, presence_penalty: 1 }, 'presence_penalty'],
    [{ ...CHAT, logit_bias: { 5: 1 } }, 'logit_bias'],
    [{ ...CHAT, stream_options: {} }, 'stream_options'],
    [{ ...CHAT, messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages.0.content'],
    [{ ...CHAT, voice: 'x' }, 'voice'],
  ])('what cannot be honoured is refused by name: %j', (body, param) => {
    expect(() => readRequest('/v1/chat/completions', body)).toThrow(
      expect.objectContaining({ code: 'request_invalid', param: expect.stringContaining(param) }),
    );
  });

  test('a response is a chat job: instructions come first, calls and their outputs keep their order', () => {
    const { job, surface } = jobOf(
      ResponseRequest.parse({
        model: 'm',
        instructions: 'be brief',
        input: [
          { role: 'user', content: [{ type: 'input_text', text: 'a' }] },
          { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
          { type: 'function_call_output', call_id: 'c', output: '1' },
        ],
      }),
    );
    const messages = 'messages' in job.input ? job.input.messages : [];
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool']);
    expect(surface).toMatchObject({ instructions: 'be brief', temperature: 1, background: false });
  });
});
