import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseRetryAfter } from './retry-after.ts';

const NOW = Date.parse('1994-11-06T08:49:07Z');

test.each([
  ['30', 30],
  [' 0 ', 0],
  ['1.5', 1.5],
  ['Sun, 06 Nov 1994 08:49:37 GMT', 30],
  ['Sunday, 06-Nov-94 08:49:37 GMT', 30],
  ['Sun Nov  6 08:49:37 1994', 30],
  ['Sun, 06 Nov 1994 08:00:00 GMT', 0],
  ['soon', undefined],
  ['-5', undefined],
  ['1994-11-06', undefined],
  ['', undefined],
  [null, undefined],
])('Retry-After %j asks for %j seconds', (header, seconds) => {
  expect(parseRetryAfter(header, NOW)).toBe(seconds);
});

test('whatever a header says, the wait is a number that is not negative, or none', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
      ),
      (header) => {
        const seconds = parseRetryAfter(header, NOW);
        expect(seconds === undefined || (Number.isFinite(seconds) && seconds >= 0)).toBe(true);
      },
    ),
  );
});
