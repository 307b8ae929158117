import { describe, expect, test } from '@jest/globals';
import { MAX_LINES } from './batch-line.ts';
import { validateInput } from './batch-validation.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';

const ENDPOINT = '/v1/completions';
const NEVER = new AbortController().signal;

function line(customId: string, model?: string): Buffer {
  return Buffer.from(JSON.stringify({ custom_id: customId, method: 'POST', url: ENDPOINT, body: { model } }));
}

async function* given(lines: Iterable<Buffer | undefined>): AsyncGenerator<Buffer | undefined> {
  for (const one of lines) yield await Promise.resolve(one);
}

function* numbered(count: number): Generator<Buffer> {
  for (let at = 0; at < count; at += 1) yield line(String(at));
}

describe('the input of a batch', () => {
  test('that is well formed has no errors, and the model of the first line that names one', async () => {
    const found = await validateInput(given([line('a'), line('b', 'kjv'), line('c', 'other')]), ENDPOINT, NEVER);
    expect(found).toEqual({ errors: [], total: 3, model: 'kjv' });
  });

  test('names every mistake with its line, and does not stop at the first', async () => {
    const lines = [line('a'), line('a'), undefined, Buffer.from('x'), line('b')];
    const { errors, total } = await validateInput(given(lines), ENDPOINT, NEVER);
    expect(errors.map(({ code, line: at }) => [code, at])).toEqual([
      ['duplicate_custom_id', 2],
      ['line_too_long', 3],
      ['invalid_json_line', 4],
    ]);
    expect(total).toBe(5);
  });

  test('lists at most a hundred mistakes', async () => {
    const { errors } = await validateInput(given(Array.from({ length: 150 }, () => undefined)), ENDPOINT, NEVER);
    expect(errors).toHaveLength(100);
  });

  test('without a line, with one line too many, or that cannot be read fails', async () => {
    expect((await validateInput(given([]), ENDPOINT, NEVER)).errors).toMatchObject([{ code: 'empty_file' }]);
    const long = await validateInput(given(numbered(MAX_LINES + 2)), ENDPOINT, NEVER);
    expect([long.errors.map(({ code }) => code), long.total]).toEqual([['too_many_lines'], MAX_LINES + 1]);
    async function* broken(): AsyncGenerator<Buffer> {
      yield await Promise.resolve(line('a'));
      throw new CodedError('blob_missing', 'The blob is gone.');
    }
    expect((await validateInput(broken(), ENDPOINT, NEVER)).errors).toMatchObject([{ code: 'file_unreadable' }]);
  });

  test('is not read on when the process has lost the batch', async () => {
    let read = 0;
    async function* counted(): AsyncGenerator<Buffer> {
      for (;;) {
        read += 1;
        yield await Promise.resolve(line(String(read)));
      }
    }
    await validateInput(counted(), ENDPOINT, AbortSignal.abort());
    expect(read).toBe(1);
  });
});
