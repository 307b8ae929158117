import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { bytes, count, duration, jobs, moment, money, rate, shortId, visible, visibleLine } from './format.ts';

describe('numbers are written with their units', () => {
  test.each([
    [0, '0 ms'],
    [147.4, '147 ms'],
    [999.4, '999 ms'],
    [999.6, '1.0 s'],
    [3_100, '3.1 s'],
    [59_940, '59.9 s'],
    [59_960, '1 min 0 s'],
    [252_000, '4 min 12 s'],
    [3_599_600, '1 h 00 min'],
    [7_500_000, '2 h 05 min'],
    [86_399_999, '1 d 0 h'],
    [273_600_000, '3 d 4 h'],
    [-1, '–'],
    [Number.NaN, '–'],
  ])('%d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

  test('counts, rates, bytes and money', () => {
    expect([9_214, 999_949, 999_950, 148_213_907, 1_482_000_000].map(count)).toEqual([
      '9,214',
      '999,949',
      '1.0 M',
      '148.2 M',
      '1.5 G',
    ]);
    expect([0, 1, 2_000_000].map((value) => jobs(value))).toEqual(['0 jobs', '1 job', '2.0 M jobs']);
    expect([0, 0.04, 9.96, 10.2, 1_842].map(rate)).toEqual(['0', '0.0', '10.0', '10', '1,842']);
    expect([9_412, 11_100_000_000, 999_960].map(bytes)).toEqual(['9,412 bytes', '11.1 GB', '1.0 MB']);
    expect([money(2_484, 'EUR'), money(0, 'CHF'), money(1, null)]).toEqual(['€0.002484', 'CHF 0.000000', ' 0.000001']);
  });

  test('a duration has no unit that the one before it would hold', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e12, noNaN: true }), (ms) => {
        expect(duration(ms)).not.toMatch(/\b60 s|\b60 min|\b24 h|\b1000 ms/);
      }),
    );
  });
});

test('a moment says the day only where it is another, and the year only where it is another', () => {
  const now = new Date(2026, 10, 26, 14, 3, 41);
  expect(moment(new Date(2026, 10, 26, 9, 2, 3), now)).toBe('09:02:03');
  expect(moment(new Date(2026, 10, 24, 9, 12), now)).toBe('24 Nov, 09:12');
  expect(moment(new Date(2025, 11, 31, 9, 12), now)).toBe('2025-12-31');
  expect(moment('no time', now)).toBe('–');
});

test('an id is short and still tells jobs apart', () => {
  expect(shortId('job_01m7zbjdn989ktnymaztjqcppv')).toBe('job_01m7…jqcppv');
  expect(shortId('default')).toBe('default');
});

describe('text of strangers', () => {
  test('has no control character, no mark of direction, and no more than is shown', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 1, max: 200 }), (text, most) => {
        const shown = visible(text, most);
        expect(shown.text).not.toMatch(
          /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]/,
        );
        expect(/\p{Surrogate}/u.test(shown.text) && !/\p{Surrogate}/u.test(text)).toBe(false);
        expect(shown.more).toBe(Math.max(0, text.length - most));
        expect(visibleLine(text, most)).not.toMatch(/[\n\u2028\u2029]/);
      }),
    );
  });

  test('shows what would otherwise act', () => {
    expect(visible('\u001b[31mred\u202egpj.exe').text).toBe('␛[31mred⟨RLO⟩gpj.exe');
    expect(visible('x'.repeat(1_000_000)).more).toBe(996_000);
  });
});
