import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { byteLines, LineTooLong } from './byte-lines.ts';

async function linesOf(pieces: Uint8Array[], maxBytes = 1_000) {
  const lines = [];
  for await (const { bytes, offset, ended } of byteLines(pieces, maxBytes))
    lines.push({ text: bytes.toString('latin1'), offset, ended });
  return lines;
}

test('the lines are the same however the bytes are cut, and their offsets lead to them', async () => {
  const text = fc.array(fc.constantFrom('a', 'bc', '\n', '\r', 'é'), { maxLength: 40 }).map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(text, fc.array(fc.nat(60), { maxLength: 6 }), async (whole, cuts) => {
      const bytes = Buffer.from(whole);
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const lines = await linesOf(at.slice(1).map((end, index) => bytes.subarray(at[index], end)));
      expect(lines.map((line) => line.text + (line.ended ? '\n' : '')).join('')).toBe(bytes.toString('latin1'));
      expect(lines.slice(0, -1).every((line) => line.ended)).toBe(true);
      for (const line of lines)
        expect(bytes.toString('latin1', line.offset, line.offset + line.text.length)).toBe(line.text);
    }),
  );
});

test('a line may have as many bytes as allowed, and not one more, in one piece or in many', async () => {
  const exact = Buffer.from(`${'x'.repeat(10)}\n`);
  expect(await linesOf([exact], 10)).toHaveLength(1);
  await expect(linesOf([exact], 9)).rejects.toThrow(LineTooLong);
  await expect(
    linesOf(
      [...exact].map((byte) => Buffer.of(byte)),
      9,
    ),
  ).rejects.toThrow(LineTooLong);
});

test('a line without an end is refused when it is too long, not when the stream is over', async () => {
  let given = 0;
  const endless = async function* () {
    for (;;) {
      await Promise.resolve();
      given += 1;
      yield Buffer.alloc(1_024, 'x');
    }
  };
  await expect(byteLines(endless(), 10_000).next()).rejects.toThrow(LineTooLong);
  expect(given).toBe(10);
});
