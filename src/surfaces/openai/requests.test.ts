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

describe('what the extension says', () => {
  const extension = {
    attestation: { recompute: 1 },
    attempts: 2,
    deadline_ms: 5_000,
    not_before: '2027-01-31T22:00:00+01:00',
    priority: -3,
  };

  test.each([
    ['/v1/chat/completions', CHAT],
    ['/v1/completions', { model: 'm', prompt: 'x' }],
    ['/v1/embeddings', { model: 'm', input: 'x' }],
  ] as const)('of %s stands in each job, whole', (endpoint, body) => {
    for (const [name, value] of Object.entries(extension))
      for (const job of readRequest(endpoint, { ...body, countersign: { [name]: value } }).jobs)
        expect(job).toMatchObject({ [name]: value });
    expect(readRequest(endpoint, { ...body, countersign: extension }).jobs[0]).toMatchObject(extension);
  });

  test('of a response as well; and a time is a time', () => {
    const request = { model: 'm', input: 'x', countersign: extension };
    expect(jobOf(ResponseRequest.parse(request)).job).toMatchObject(extension);
    for (const not_before of ['tomorrow', '2027-01-31', '2027-01-31T22:00:00', 1_800_000_000, null])
      expect(() => readRequest('/v1/chat/completions', { ...CHAT, countersign: { not_before } })).toThrow(CodedError);
  });
});

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
    [{ ...CHAT, top_logprobs: 2 }, 'top_logprobs'],
    [{ ...CHAT, top_logprobs: 1, logprobs: false }, 'top_logprobs'],
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

describe('turns as clients hand them back', () => {
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
  const user = { role: 'user', content: 'x' };
  const turnsOf = (...messages: object[]) => {
    const { input } = readRequest('/v1/chat/completions', { ...CHAT, messages }).jobs[0] ?? { input: {} };
    return 'messages' in input ? input.messages : [];
  };
  const said = { role: 'assistant', content: 'y' };
  const called = { role: 'assistant', content: null, tool_calls: [call] };

  test.each<[string, object, object]>([
    [
      'with a name on the result of a tool',
      { role: 'tool', content: '1', tool_call_id: 'c', name: 'f' },
      { role: 'tool', content: '1', tool_call_id: 'c' },
    ],
    [
      'with all that is null in an answer',
      { ...said, refusal: null, audio: null, function_call: null, tool_calls: null, name: null, x: null },
      said,
    ],
    ['with empty lists', { ...said, annotations: [], tool_calls: [] }, said],
    ['with its reasoning', { ...said, reasoning_content: 'hm', reasoning: 'hm' }, said],
    ['with what a helper parsed', { ...said, parsed: { a: 1 } }, said],
    ['as a refusal', { role: 'assistant', content: null, refusal: 'No.' }, { role: 'assistant', content: 'No.' }],
    [
      'as parts',
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'a' },
          { type: 'refusal', refusal: 'b' },
        ],
      },
      { role: 'assistant', content: 'ab' },
    ],
    ['with the place of a streamed call', { ...called, tool_calls: [{ ...call, index: 0 }] }, called],
    [
      'with the arguments parsed',
      { ...called, tool_calls: [{ ...call, function: { ...call.function, parsed_arguments: {} } }] },
      called,
    ],
    [
      'with null for the place and the kind of a call',
      { ...called, tool_calls: [{ ...call, index: null, type: null }] },
      called,
    ],
    [
      'with its reasoning under other names',
      { ...said, reasoning_text: 'hm', thinking: 'hm', reasoning_details: [{ text: 'hm' }], thinking_blocks: [{}] },
      said,
    ],
    [
      'as parts of a response',
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'a', annotations: [], index: 0 },
          { type: 'output_text', text: 'b', annotations: [], logprobs: null, id: 'msg_1' },
        ],
      },
      { role: 'assistant', content: 'ab' },
    ],
    [
      'of a user with marks for a cache',
      { role: 'user', content: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral' } }] },
      user,
    ],
    ['with an unknown null within a call', { ...called, tool_calls: [{ ...call, extra: null }] }, called],
    ['with calls and empty text', { ...called, content: '' }, { ...called, content: '' }],
    ['of a user without a name', { ...user, name: null, cache_control: null }, user],
  ])('%s are taken', (_, message, turn) => {
    expect(turnsOf(user, message)).toEqual([user, turn]);
  });

  test.each([
    [{ ...said, audio: { id: 'a' } }, 'messages.1.audio'],
    [{ ...said, function_call: { name: 'f', arguments: '{}' } }, 'messages.1.function_call'],
    [{ ...said, weight: 0 }, 'messages.1.weight'],
    [{ ...called, tool_calls: [{ ...call, type: 'custom' }] }, 'messages.1.tool_calls.0.type'],
  ])('and what would change the answer is refused by name: %j', (message, param) => {
    expect(() => turnsOf(user, message)).toThrow(expect.objectContaining({ param }));
  });

  test('unknown members of the request that are null say nothing, and those within schemas of tools are kept', () => {
    const parameters = { type: 'object', properties: { a: { default: null } } };
    const { jobs } = readRequest('/v1/chat/completions', {
      ...CHAT,
      functions: [],
      function_call: 'none',
      prediction: null,
      web_search_options: null,
      stream_options: null,
      tools: [
        { type: 'function', function: { name: 'f', description: null, parameters } },
        { type: 'function', function: { name: 'g', parameters: null }, extra: null },
      ],
      parallel_tool_calls: false,
    });
    expect(jobs[0]?.input).toMatchObject({
      tools: [{ function: { name: 'f', parameters } }, { function: { name: 'g' } }],
      parallel_tool_calls: false,
    });
  });

  test('a list of no tools is none', () => {
    const { jobs } = readRequest('/v1/chat/completions', { ...CHAT, tools: [], tool_choice: 'auto' });
    expect(jobs[0]?.input).toEqual({ messages: CHAT.messages });
  });

  test('up to 2,048 texts are split over jobs, and more are refused with the true limit', () => {
    const ask = (count: number) =>
      readRequest('/v1/embeddings', { model: 'm', input: Array<string>(count).fill('x') }).jobs.map(({ input }) =>
        'texts' in input ? input.texts.length : 0,
      );
    expect([ask(512), ask(513), ask(2_048)]).toEqual([[512], [512, 1], [512, 512, 512, 512]]);
    expect(() => ask(2_049)).toThrow(/2048/);
  });

  test('items of a response: what was said and called in a row is one turn', () => {
    const { job } = jobOf(
      ResponseRequest.parse({
        model: 'm',
        input: [
          { type: 'message', role: 'user', content: 'x' },
          { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: null },
          {
            type: 'message',
            role: 'assistant',
            id: 'msg_1',
            status: 'completed',
            content: [{ type: 'output_text', text: 'I look', annotations: [], logprobs: [] }],
          },
          {
            type: 'function_call',
            id: 'fc_1',
            call_id: 'a',
            name: 'f',
            arguments: '{}',
            status: 'completed',
            parsed_arguments: null,
          },
          { type: 'function_call', call_id: 'b', name: 'g', arguments: '{}' },
          { type: 'function_call_output', call_id: 'a', output: [{ type: 'input_text', text: '1' }], status: null },
          { type: 'function_call_output', call_id: 'b', output: '2' },
        ],
        tools: [{ type: 'function', name: 'f', parameters: null }],
        tool_choice: { type: 'function', name: 'f' },
        include: ['reasoning.encrypted_content'],
        text: { format: null, verbosity: 'medium' },
        reasoning: { effort: 'low', summary: null },
      }),
    );
    expect(job.input).toMatchObject({
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: 'I look', tool_calls: [{ id: 'a' }, { id: 'b' }] },
        { role: 'tool', content: '1', tool_call_id: 'a' },
        { role: 'tool', content: '2', tool_call_id: 'b' },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      reasoning: { effort: 'low' },
    });
  });
});
