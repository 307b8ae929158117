import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isLineError, linesOf, readLine } from './batch-line.ts';

const ENDPOINT = '/v1/completions';
const LINE = { custom_id: 'a', method: 'POST', url: ENDPOINT, body: { model: 'm' } };

async function* chunks(pieces: Iterable<Buffer>): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield await Promise.resolve(piece);
}

async function read(text: string, size: number, maxBytes?: number): Promise<(string | undefined)[]> {
  const bytes = Buffer.from(text);
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  );
  const lines: (string | undefined)[] = [];
  for await (const line of linesOf(chunks(pieces), maxBytes)) lines.push(line?.toString('utf8'));
  return lines;
}

function refusal(line: unknown): [string, string | null] | undefined {
  const found = readLine(Buffer.from(typeof line === 'string' ? line : JSON.stringify(line)), 7, ENDPOINT);
  return isLineError(found) ? [found.code, found.param] : undefined;
}

describe('lines of a file', () => {
  test('are the same however the file comes in pieces, also within a character', async () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'ß', '語', '\n', ' ') });
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), async (content, size) => {
        const expected = content.split('\n').filter((line) => line.trim() !== '');
        expect(await read(content, size)).toEqual(expected);
      }),
    );
  });

  test('that are too long are distinguished from the others, also the last one without an end', async () => {
    expect(await read('12345\n123456\n12345', 4, 5)).toEqual(['12345', undefined, '12345']);
    expect(await read('1\n123456', 2, 5)).toEqual(['1', undefined]);
  });

  test('of Windows keep their bytes, and those of white space alone are skipped', async () => {
    expect(await read('a\r\n \t\r\n\r\nb\r\n', 3)).toEqual(['a\r', 'b\r']);
  });
});

describe('a line of a batch', () => {
  test('gives its custom_id and its body, whatever else it has', () => {
    const line = readLine(Buffer.from(JSON.stringify({ ...LINE, more: 1 })), 1, ENDPOINT);
    expect(line).toEqual({ customId: 'a', body: { model: 'm' } });
  });

  test.each([
    ['text', 'nonsense', ['invalid_json_line', null]],
    ['a member twice', '{"custom_id":"a","custom_id":"b"}', ['invalid_json_line', null]],
    ['no custom_id', { ...LINE, custom_id: undefined }, ['missing_required_parameter', 'custom_id']],
    ['an empty custom_id', { ...LINE, custom_id: '' }, ['missing_required_parameter', 'custom_id']],
    ['another method', { ...LINE, method: 'GET' }, ['invalid_method', 'method']],
    ['another endpoint', { ...LINE, url: '/v1/embeddings' }, ['invalid_url', 'url']],
    ['a body that is no object', { ...LINE, body: 'x' }, ['missing_required_parameter', 'body']],
  ])('with %s is refused under the code of OpenAI', (_name, line, expected) => {
    expect(refusal(line)).toEqual(expected);
  });

  test('at the head of a file may follow a byte-order mark, wherever the pieces are cut', async () => {
    const bytes = Buffer.from('\uFEFF{"a":1}\n\uFEFFx');
    for (let size = 1; size < bytes.length; size += 1) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
        bytes.subarray(at * size, (at + 1) * size),
      );
      const lines: string[] = [];
      for await (const line of linesOf(chunks(pieces))) lines.push(line?.toString() ?? '');
      expect(lines).toEqual(['{"a":1}', '\uFEFFx']);
    }
  });

  test('that is refused says its number', () => {
    expect(readLine(Buffer.from('x'), 7, ENDPOINT)).toMatchObject({ line: 7 });
    expect(readLine(Buffer.from([0x22, 0xff, 0x22]), 8, ENDPOINT)).toMatchObject({
      code: 'invalid_json_line',
      line: 8,
    });
  });
});
