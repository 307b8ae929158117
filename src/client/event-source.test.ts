import { expect, test } from '@jest/globals';
import { readEvents } from './event-source.ts';

/** The events of a body that comes in these pieces. */
async function eventsOf(pieces: readonly Uint8Array[]) {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
  const events = [];
  for await (const event of readEvents(new Response(body))) events.push(event);
  return events;
}

const TEXT =
  'retry: 2000\n\n: still here\n\nid: 1.0\nevent: chunk\ndata: {"text":"é"}\n\nid: 1.1\nevent: state\ndata: {}\n\n';

test('events are the same wherever the connection cuts their bytes, also within a character', async () => {
  const bytes = new TextEncoder().encode(TEXT);
  const whole = await eventsOf([bytes]);
  expect(whole).toEqual([
    { id: '1.0', type: 'chunk', data: { text: 'é' } },
    { id: '1.1', type: 'state', data: {} },
  ]);
  for (let at = 1; at < bytes.length; at += 1)
    expect(await eventsOf([bytes.slice(0, at), bytes.slice(at)])).toEqual(whole);
});

test('an event that is not whole is left out', async () => {
  expect(await eventsOf([new TextEncoder().encode('id: 1\ndata: {}\n')])).toEqual([]);
});

test('an event without an id has that of the one before, to come back after', async () => {
  const text = 'event: forecast\ndata: {}\n\nid: 1.0\ndata: {}\n\nevent: forecast\ndata: {}\n\n';
  const events = await eventsOf([new TextEncoder().encode(text)]);
  expect(events.map(({ id }) => id)).toEqual(['', '1.0', '1.0']);
});
