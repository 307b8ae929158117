import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import type { Done } from './answers.ts';
import { outputOf, responseDocument } from './response-document.ts';
import { ResponseFrames } from './response-frames.ts';

const ID = 'job_q8e10123456789abcdefghjkmnpqrs';
const SURFACE = {
  background: false,
  instructions: null,
  max_output_tokens: null,
  temperature: 1,
  top_p: 1,
  metadata: {},
  store: true,
  service_tier: 'default' as const,
  reasoning: false,
};
const VIEW = { id: ID, createdMs: 0, model: 'm', state: 'done', ending: undefined } as const;
const Event = z.looseObject({ type: z.string(), sequence_number: z.number(), output_index: z.number().optional() });

function eventsOf(message: object, finish_reason = 'tool_calls', startingAfter = -1, surface = SURFACE) {
  const done: Done = {
    id: ID,
    index: 0,
    createdMs: 0,
    output: { message: { role: 'assistant', content: null, ...message }, finish_reason },
    usage: { inputTokens: 1, outputTokens: 1 },
    verdict: Buffer.alloc(0),
  };
  const begun = responseDocument({ ...VIEW, state: 'queued' }, surface, undefined);
  const frames = new ResponseFrames(ID, begun, startingAfter, surface);
  const text =
    frames.created() + frames.whole(outputOf(ID, done, surface)) + frames.ended(responseDocument(VIEW, surface, done));
  return text
    .split('\n\n')
    .filter((frame) => frame !== '')
    .map((frame) => Event.parse(JSON.parse(frame.replace(/^event: .*\ndata: /, ''))));
}

const call = (name: string, id: string) => ({ id, type: 'function', function: { name, arguments: '{"a":1}' } });

test('calls stream as items of their own, with their arguments, and are the output of the last frame', () => {
  const events = eventsOf({ tool_calls: [call('f', 'x'), call('g', 'y')] });
  const ofItem = [
    'response.output_item.added',
    'response.function_call_arguments.delta',
    'response.function_call_arguments.done',
    'response.output_item.done',
  ];
  expect(events.map(({ type }) => type)).toEqual([
    'response.created',
    'response.in_progress',
    ...ofItem,
    ...ofItem,
    'response.completed',
  ]);
  expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
  expect(events[2]).toMatchObject({ output_index: 0, item: { type: 'function_call', call_id: 'x', arguments: '' } });
  expect(events[3]).toMatchObject({ delta: '{"a":1}', item_id: events[5]?.['item'] && expect.any(String) });
  expect(events[9]).toMatchObject({
    output_index: 1,
    item: { call_id: 'y', arguments: '{"a":1}', status: 'completed' },
  });
});

test('text and calls have the places that they have in the output', () => {
  const events = eventsOf({ content: 'I look', tool_calls: [call('f', 'x')] });
  const done = events.filter(({ type }) => type === 'response.output_item.done');
  expect(done.map(({ output_index }) => output_index)).toEqual([0, 1]);
});

test.each([
  ['length', 'max_output_tokens'],
  ['content_filter', 'content_filter'],
])('an answer that ended by %s is incomplete', (finish, reason) => {
  const last = eventsOf({ content: 'x' }, finish).at(-1);
  expect(last).toMatchObject({ type: 'response.incomplete', response: { incomplete_details: { reason } } });
});

test('a caller who has seen all gets the last frame alone', () => {
  expect(eventsOf({ content: 'x' }, 'stop', 99).map(({ type }) => type)).toEqual(['response.completed']);
});

describe('what a model reasoned', () => {
  const SHOWN = { ...SURFACE, reasoning: true };
  const PARTS = [
    { content: 'x' },
    { content: null, tool_calls: [call('f', 'x')] },
    { content: 'x', tool_calls: [call('f', 'x'), call('g', 'y')] },
  ];

  test.each(PARTS.flatMap((parts) => ['', 'Hm. '].map((thought) => ({ parts, thought }))))(
    'is an item before all others where it is asked for, and its events give its place and text: %j',
    ({ parts, thought }) => {
      const events = eventsOf(
        { ...parts, ...(thought === '' ? {} : { reasoning_content: thought }) },
        'stop',
        -1,
        SHOWN,
      );
      const Last = z.looseObject({ response: z.looseObject({ output: z.array(z.looseObject({ id: z.string() })) }) });
      const { output } = Last.parse(events.at(-1)).response;
      expect(output[0]).toMatchObject({ type: 'reasoning', summary: thought === '' ? [] : [{ text: thought }] });
      // A client that puts items at their places, and text into them, has the output of the last frame.
      const added = events.filter(({ type }) => type === 'response.output_item.added');
      expect(added.map(({ output_index }) => output_index)).toEqual(output.map((_, at) => at));
      const done = events.filter(({ type }) => type === 'response.output_item.done');
      expect(done.map(({ output_index, item }) => [output_index, item])).toEqual(output.map((item, at) => [at, item]));
      const deltas = events.filter(({ type }) => type === 'response.reasoning_summary_text.delta');
      expect(deltas.map((event) => event['delta']).join('')).toBe(thought);
    },
  );

  test('is shown to nobody else', () => {
    expect(JSON.stringify(eventsOf({ content: 'x', reasoning_content: 'Hm.' }))).not.toContain('reasoning"');
  });
});
