import { expect, test } from '@jest/globals';
import { futureTime } from './key-document.ts';

test('a key ends in UTC, in years that sort as they follow one another', () => {
  expect(futureTime('2999-01-01T00:00:00+01:00')).toBe('2998-12-31T23:00:00.000Z');
  expect(() => futureTime('9999-12-31T23:59:59-23:59')).toThrow(/after the year 9999/);
  expect(() => futureTime('2000-01-01T00:00:00Z')).toThrow(/in the past/);
});
