import { describe, expect, test } from '@jest/globals';
import { readingOf } from './reading.ts';

const SAME = [
  ['I am allergic to peanuts.', ' i am ALLERGIC\u00a0to\n peanuts'],
  ['I drink tea!', 'I drink tea'],
  ['J’aime le thé !', "J'aime le the\u0301 !"],
  ['She said “yes”.', 'She said "yes"'],
  ['open 9–17', 'open 9-17'],
  ['ｔｅａ only', 'tea only'],
  ['good co\u00adffee\ufeff', 'good coffee'],
  ['我喜欢喝茶。', '我喜欢喝茶'],
  ['मुझे चाय पसंद है।', 'मुझे चाय पसंद है'],
] as const;
const OTHER = [
  ['I drink tea.', 'I drink tea?'],
  ['I like cooking, my family and dogs', 'I like cooking my family and dogs'],
  ['1.5 l of milk', '15 l of milk'],
  ['I know C', 'I know C++'],
  ['it is -5', 'it is 5'],
  ['Maße', 'Masse'],
  ['I like tea', 'I do not like tea'],
  ['.', '?'],
] as const;

describe('readingOf', () => {
  test.each(SAME)('%j reads as %j', (a, b) => {
    expect(readingOf(a)).toBe(readingOf(b));
    // What was folded once is not folded further.
    expect(readingOf(readingOf(a))).toBe(readingOf(a));
  });

  test.each(OTHER)('%j does not read as %j', (a, b) => {
    expect(readingOf(a)).not.toBe(readingOf(b));
  });

  test('a text of marks alone reads as something', () => {
    expect(readingOf('...')).not.toBe('');
    expect(readingOf('...')).not.toBe(readingOf('?'));
  });
});
