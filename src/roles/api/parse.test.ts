import { describe, expect, test } from '@jest/globals';
import { ListJobs } from './jobs.schemas.ts';
import { parse, parseIdempotencyKey, parsePreferWait } from './parse.ts';

describe('headers', () => {
  test.each([
    ['wait=10', 10],
    ['respond-async, wait=5', 5],
    ['wait=100', 60],
    ['wait=0', 0],
    ['wait', 60],
    ['WAIT="7"', 7],
    ['waiting=5', undefined],
    ['return=minimal', undefined],
    ['wait=-1', undefined],
    ['wait=1e3', undefined],
  ])('Prefer: %s waits %s s', (header, seconds) => {
    expect(parsePreferWait(header)).toBe(seconds);
  });

  test('an Idempotency-Key is quoted or bare, printable, and not too long', () => {
    expect(parseIdempotencyKey('"a b"')).toBe('a b');
    expect(parseIdempotencyKey('8e03978e-40d5')).toBe('8e03978e-40d5');
    expect(parseIdempotencyKey(undefined)).toBeUndefined();
    for (const bad of ['', '"', '""', 'a b', '"a"b"', 'x'.repeat(256), 'a\u0000', ['a', 'b']])
      expect(() => parseIdempotencyKey(bad)).toThrow();
  });
});

test('jobs are looked for by no name that a database would not take', () => {
  for (const name of ['model', 'worker', 'key'])
    for (const value of ['\u0000', 'a\u0000b', 'a\nb']) expect(() => parse(ListJobs, { [name]: value })).toThrow(name);
  expect(parse(ListJobs, { model: 'kjv-1m' })).toMatchObject({ model: 'kjv-1m' });
});
