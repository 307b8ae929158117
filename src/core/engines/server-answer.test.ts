import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import { outputFault } from '../../proof/tasks/output-fault.ts';
import { EngineError } from './engine.ts';
import { ServerAnswer } from './server-answer.ts';

const ALL = { reasoning: true, tokens: false };
const choice = (delta: unknown, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }],
});
const END = { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] };
const CALLED = { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] };
const calls = (...tool_calls: object[]) => choice({ tool_calls });
const call = (name: string | undefined, args: unknown, more: object = {}) => ({
  ...more,
  type: 'function',
  function: { ...(name === undefined ? {} : { name }), arguments: args },
});

function answerOf(frames: readonly unknown[], wants = ALL) {
  const answer = new ServerAnswer(true);
  const text = frames.map((frame) => answer.add(JSON.stringify(frame))).join('');
  const result = answer.result(wants);
  return { text, result, output: OUTPUTS.chat.parse(JSON.parse(result.output)) };
}

/** "calls" with names and arguments, or the code of the failure. */
function callsOf(frames: readonly unknown[]): string[] | string {
  try {
    return (answerOf([...frames, CALLED]).output.message.tool_calls ?? []).map(
      ({ function: called }) => `${called.name}(${called.arguments})`,
    );
  } catch (error) {
    return error instanceof EngineError ? error.code : String(error);
  }
}

describe('what servers send of an answer', () => {
  test.each<[string, unknown[]]>([
    ['choices that are null beside the usage', [{ choices: null, usage: { prompt_tokens: 3, completion_tokens: 1 } }]],
    ['no choices beside the usage', [{ usage: { prompt_tokens: 3, completion_tokens: 1 } }]],
    [
      'usage that is null until the end',
      [{ usage: null, choices: [] }, { usage: { prompt_tokens: 3, completion_tokens: 1 } }],
    ],
    [
      'usage that grows with each frame',
      [1, 2, 3].map((prompt_tokens) => ({ usage: { prompt_tokens, completion_tokens: 1 } })),
    ],
    [
      'details of usage',
      [{ usage: { prompt_tokens: 3, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 2 }, x: null } }],
    ],
    ['a delta that is null', [choice(null), { usage: { prompt_tokens: 3, completion_tokens: 1 } }]],
    [
      'members that are null',
      [choice({ role: 'assistant', content: null, tool_calls: null, refusal: null, audio: null })],
    ],
    ['usage that counts nothing', [{ usage: { prompt_tokens: '3', completion_tokens: -1 } }]],
    ['usage that is empty', [{ usage: {} }]],
    ['reasoning that is no text', [choice({ reasoning: { effort: 'low' }, thinking: true, reasoning_details: 'x' })]],
    [
      'parts of a kind that is not text',
      [choice({ content: [{ type: 'reference', reference_ids: [1], text: null }] })],
    ],
  ])('may have %s', (_, frames) => {
    const { text, result } = answerOf([choice({ content: 'Let there be light' }), ...frames, END]);
    expect([text, result.finishReason]).toEqual(['Let there be light', 'stop']);
    if (JSON.stringify(frames).includes('prompt_tokens":3'))
      expect(result.usage).toEqual({ inputTokens: 3, outputTokens: 1 });
  });

  test('may come whole, although a stream was asked for', () => {
    const whole = { choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }] };
    expect(answerOf([whole]).output.message.content).toBe('x');
  });

  test.each([
    ['reasoning_content', { reasoning_content: 'Hm. ' }],
    ['reasoning', { reasoning: 'Hm. ' }],
    ['reasoning_text', { reasoning_text: 'Hm. ' }],
    ['thinking', { thinking: 'Hm. ' }],
    ['reasoning_details', { reasoning_details: [{ type: 'reasoning.text', text: 'Hm. ', format: null }] }],
    ['two names that say the same', { reasoning_content: 'Hm. ', reasoning: 'Hm. ' }],
    ['one of two names', { reasoning_content: '', reasoning: 'Hm. ' }],
    ['one of two names, the other null', { reasoning_content: null, reasoning: 'Hm. ' }],
    ['reasoning, told a second time in details', { reasoning: 'Hm. ', reasoning_details: [{ text: 'Hm. ' }] }],
    ['a part of the content', { content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hm. ' }] }] }],
  ])('has its reasoning under the name %s: passed on where it is asked for, and counted', (_, delta) => {
    const frames = [choice(delta), choice({ content: 'Yes.' }), END];
    expect(answerOf(frames).output.message).toEqual({ role: 'assistant', content: 'Yes.', reasoning_content: 'Hm. ' });
    const { output, result, text } = answerOf(frames, { reasoning: false, tokens: false });
    expect(output.message).toEqual({ role: 'assistant', content: 'Yes.' });
    expect([result.usage.outputTokens, text]).toEqual([2, 'Yes.']);
  });

  test.each([
    ['stop', 'stop'],
    ['eos', 'stop'],
    ['length', 'length'],
    ['max_tokens', 'length'],
    ['content_filter', 'content_filter'],
    ['STOP', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['SAFETY', 'content_filter'],
    ['refusal', 'content_filter'],
    ['toString', 'engine_error'],
    ['abort', 'engine_error'],
    ['insufficient_system_resource', 'engine_error'],
    ['error', 'engine_error'],
    ['', 'engine_error'],
    [null, 'engine_error'],
    ['tool_calls', 'engine_error'],
  ])('ends with %j: %s', (reason, expected) => {
    const finish = () => answerOf([choice({ content: 'x' }, reason)]).result.finishReason;
    if (expected === 'engine_error') expect(finish).toThrow(expect.objectContaining({ code: expected }));
    else expect(finish()).toBe(expected);
  });

  test('a refusal is said where the answer would stand', () => {
    const { text, output } = answerOf([choice({ content: null, refusal: 'I may ' }), choice({ refusal: 'not.' }), END]);
    expect([text, output.message.content]).toEqual(['I may not.', 'I may not.']);
  });

  test('what is shown of it is what is signed, however its characters are cut, and both survive as UTF-8', () => {
    const unit = fc.constantFrom('a', '\uD83D', '\uDE00', '\u{1F600}', '');
    fc.assert(
      fc.property(fc.array(fc.array(unit).map((units) => units.join(''))), (pieces) => {
        const { text, output } = answerOf([...pieces.map((content) => choice({ content })), END]);
        const signed = output.message.content ?? '';
        expect(signed).toBe(Buffer.from(pieces.join('')).toString());
        expect(signed.slice(0, text.length)).toBe(text);
        expect(Buffer.from(text).toString()).toBe(text);
      }),
    );
  });

  test('an answer that was cut is not whole because another frame says stop', () => {
    expect(answerOf([choice({ content: 'x' }, 'length'), END]).result.finishReason).toBe('length');
  });

  test.each([
    ['not JSON'],
    ['{"error":{"message":"my key is sk-1"}}'],
    ['{"error":"sk-1"}'],
    ['{"object":"error","message":"sk-1","code":400}'],
    ['{"type":"error","message":"sk-1"}'],
    ['{"choices":5}'],
    ['[]'],
  ])('is an engine error that shows nothing of it: %s', (data) => {
    const add = () => new ServerAnswer(true).add(data);
    expect(add).toThrow(EngineError);
    expect(add).not.toThrow(/sk-1/);
  });

  test('fails in no other way, whatever it is', () => {
    const value = fc.oneof(fc.constant(null), fc.string(), fc.nat(), fc.jsonValue());
    const delta = fc.record(
      {
        content: value,
        reasoning: value,
        tool_calls: fc.array(fc.record({ index: value, id: value, function: value })),
      },
      { requiredKeys: [] },
    );
    const frames = fc.array(fc.record({ choices: fc.array(fc.record({ delta, finish_reason: value })), usage: value }));
    fc.assert(
      fc.property(frames, (drawn) => {
        try {
          answerOf([...drawn, END]);
        } catch (error) {
          if (!(error instanceof EngineError) && !/too_small|Too small|issues/.test(String(error))) throw error;
        }
      }),
    );
  });
});

describe('tool calls that come in pieces', () => {
  test.each<[string, object[], string[] | string]>([
    [
      'by index',
      [calls(call('f', '{"a"', { index: 0, id: 'x' })), calls(call(undefined, ':1}', { index: 0 }))],
      ['f({"a":1})'],
    ],
    [
      'without an index, each whole',
      [calls(call('f', '{"a":1}', { id: 'x' }), call('g', '{"b":2}', { id: 'y' }))],
      ['f({"a":1})', 'g({"b":2})'],
    ],
    [
      'without an index or an id',
      [calls(call('f', '{"a":1}')), calls(call('f', '{"a":2}'))],
      ['f({"a":1})', 'f({"a":2})'],
    ],
    [
      'all under one index, told apart by ids',
      [calls(call('f', '{"a":1}', { index: 0, id: 'x' })), calls(call('f', '{"a":2}', { index: 0, id: 'y' }))],
      ['f({"a":1})', 'f({"a":2})'],
    ],
    [
      'all under one index, told apart by nothing but their names',
      [calls(call('f', '{"a":1}', { index: 0 })), calls(call('f', '{"a":2}', { index: 0 }))],
      ['f({"a":1})', 'f({"a":2})'],
    ],
    [
      'with the name in each piece',
      [calls(call('f', '{"a"', { index: 0, id: 'x' })), calls(call('f', ':1}', { index: 0, id: 'x' }))],
      ['f({"a":1})'],
    ],
    [
      'and once more whole at the end',
      [calls(call('f', '{"a":1}', { index: 0, id: 'x' })), calls(call('f', '{"a":1}', { index: 0, id: 'x' }))],
      ['f({"a":1})'],
    ],
    ['with arguments as an object', [calls(call('f', { a: 1 }, { index: 0, id: 'x' }))], ['f({"a":1})']],
    ['without arguments', [calls(call('f', '', { index: 0, id: 'x' }))], ['f({})']],
    [
      'whose names differ within a call',
      [calls(call('f', '{"a"', { index: 0, id: 'x' })), calls(call('g', ':1}', { index: 0, id: 'x' }))],
      'engine_error',
    ],
    [
      'whose arguments go on after their end',
      [calls(call('f', '{"a":1}', { index: 0, id: 'x' })), calls(call(undefined, '{"a":2}', { index: 0 }))],
      'engine_error',
    ],
    [
      'two of which have one id',
      [calls(call('f', '{}', { index: 0, id: 'x' })), calls(call('f', '{}', { index: 1, id: 'x' }))],
      'engine_error',
    ],
  ])('%s', (_, frames, expected) => {
    expect(callsOf(frames)).toEqual(expected);
  });

  test('have ids in any case, which no other answer has', () => {
    const id = () => answerOf([calls(call('f', '{}', { id: '' })), CALLED]).output.message.tool_calls?.[0]?.id;
    expect(id()).toMatch(/^call_[0-9a-f]{24}$/);
    expect(id()).not.toBe(id());
  });

  test('are one call each, wherever their arguments are cut', () => {
    fc.assert(
      fc.property(fc.object(), fc.array(fc.nat()), (args, cuts) => {
        const text = JSON.stringify(args);
        const places = [0, ...cuts.map((cut) => cut % text.length), text.length].sort((a, b) => a - b);
        const pieces = places.slice(1).map((place, at) => text.slice(places[at], place));
        const frames = pieces.map((piece, at) =>
          calls(call(at === 0 ? 'f' : undefined, piece, { index: 0, ...(at === 0 ? { id: 'x' } : {}) })),
        );
        expect(callsOf(frames)).toEqual([`f(${text})`]);
      }),
    );
  });

  test.each([
    ['no name', ''],
    ['a name of 65 characters', 'f'.repeat(65)],
  ])('with %s are no output that a worker signs', (_, name) => {
    const answer = new ServerAnswer(true);
    for (const frame of [calls(call(name, '{}', { index: 0, id: 'x' })), CALLED]) answer.add(JSON.stringify(frame));
    const { output, finishReason } = answer.result(ALL);
    expect(outputFault('chat', output, finishReason)).toMatch(/name/);
  });
});
