import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { eventData } from './event-data.ts';

async function read(bytes: Buffer, cuts: readonly number[], most = 1_000_000): Promise<string[]> {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  async function* pieces() {
    let from = 0;
    for (const to of [...places, bytes.length]) {
      yield await Promise.resolve(bytes.subarray(from, to));
      from = to;
    }
  }
  const found: string[] = [];
  for await (const data of eventData(pieces(), most)) found.push(data);
  return found;
}

const aLine = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll(/[\r\n]/g, ''));

test('events are the same in whatever pieces they come, with either end of line, comments between them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(aLine, { minLength: 1, maxLength: 3 })),
      fc.constantFrom('\n', '\r\n'),
      fc.array(fc.nat(10_000)),
      async (events, end, cuts) => {
        const text = events.map((lines) =>
          [': beat', 'event: x', ...lines.map((line) => `data: ${line}`), '', ''].join(end),
        );
        expect(await read(Buffer.from(text.join('')), cuts)).toEqual(events.map((lines) => lines.join('\n')));
      },
    ),
  );
});

test('an event without end, and bytes that are no text, are refused', async () => {
  for (const text of ['data: ', 'data: x\n'])
    await expect(read(Buffer.from(text.repeat(1_000)), [7, 900], 500)).rejects.toMatchObject({ reason: 'too_large' });
  await expect(read(Buffer.from([0x64, 0xff, 0x0a]), [])).rejects.toMatchObject({ reason: 'malformed' });
});
