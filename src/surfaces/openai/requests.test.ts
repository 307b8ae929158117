import { describe, expect, test } from '@jest/globals';
import { readRequest } from './requests.ts';
import { ResponseRequest, jobOf } from './response-request.ts';

const CHAT = { model: 'm', messages: [{ role: 'user', content: 'x' }] };

describe('requests in the shape of OpenAI', () => {
  test('each choice is a job, and the jobs differ in their seed alone', () => {
    const { jobs } = readRequest('/v1/chat/completions', { ...CHAT, n: 3, seed: 4_294_967_295 });
    expect(jobs.map(({ params }) => params?.seed)).toEqual([4_294_967_295, 0, 1]);
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
