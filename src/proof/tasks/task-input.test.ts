import { describe, expect, test } from '@jest/globals';
import { FEATURES, INPUTS, OUTPUTS, featuresOf } from './task-input.ts';

const user = { role: 'user', content: 'Hello' };
const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } };
const tool = { type: 'function', function: { name: 'f' } };

describe('the input of a chat', () => {
  test.each([
    ['one message', { messages: [user] }],
    [
      'an answer that only calls a tool',
      { messages: [user, { role: 'assistant', content: null, tool_calls: [call] }] },
    ],
    ['the result of a tool', { messages: [user, { role: 'tool', content: '1', tool_call_id: 'c1' }] }],
    ['every feature', { messages: [user], tools: [tool], response_format: { type: 'json_object' }, logprobs: true }],
  ])('may be %s', (_, input) => {
    expect(INPUTS.chat.safeParse(input).success).toBe(true);
  });

  test.each([
    ['no message', { messages: [] }],
    ['an assistant that says and calls nothing', { messages: [{ role: 'assistant', content: null }] }],
    ['calls by a user', { messages: [{ ...user, tool_calls: [call] }] }],
    ['a tool result without its call', { messages: [{ role: 'tool', content: '1' }] }],
    ['a member that is unknown', { messages: [user], seed: 1 }],
    ['a tool whose name has a space', { messages: [user], tools: [{ ...tool, function: { name: 'a b' } }] }],
    ['21 alternatives for a token', { messages: [user], logprobs: true, top_logprobs: 21 }],
    ['a text beyond a million characters', { messages: [{ ...user, content: 'x'.repeat(1_000_001) }] }],
  ])('may not have %s', (_, input) => {
    expect(INPUTS.chat.safeParse(input).success).toBe(false);
  });

  test('names the features that it needs, and a plain one needs none', () => {
    expect(featuresOf({ messages: [user] })).toEqual([]);
    expect(featuresOf({ messages: [user], logprobs: true, tools: [tool], response_format: {}, reasoning: {} })).toEqual(
      FEATURES,
    );
  });
});

test('an embedding takes 1 to 512 texts, none of them empty', () => {
  const isTaken = (texts: string[]) => INPUTS.embedding.safeParse({ texts }).success;
  expect([['a'], [], [''], Array<string>(512).fill('a'), Array<string>(513).fill('a')].map(isTaken)).toEqual([
    true,
    false,
    false,
    true,
    false,
  ]);
});

test('an output with anything besides what its task promises is refused', () => {
  const output = { text: 'x', finish_reason: 'stop' };
  expect(OUTPUTS.completion.safeParse(output).success).toBe(true);
  expect(OUTPUTS.completion.safeParse({ ...output, confirmed: true }).success).toBe(false);
  expect(OUTPUTS.completion.safeParse({ ...output, finish_reason: 'timeout' }).success).toBe(false);
  expect(OUTPUTS.embedding.safeParse({ embeddings: [[1, 'NaN']] }).success).toBe(false);
});
