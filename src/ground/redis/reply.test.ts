import { expect, test } from '@jest/globals';
import { integer, listOf, oneOf, optional, text } from './reply.ts';

test('a parser returns what the script promised', () => {
  expect(listOf(optional(integer))([1, null, 3])).toEqual([1, undefined, 3]);
  expect(oneOf('ok', 'final')('final')).toBe('final');
});

test.each([
  ['an error in the place of a list', () => listOf(text)('ERR'), '"ERR" instead of a list'],
  ['a text in the place of a number', () => integer('1'), '"1" instead of a whole number'],
  ['a fraction', () => integer(1.5), '"1.5" instead of a whole number'],
  ['a number in the place of a text', () => listOf(text)(['a', 1]), '"1" instead of text'],
  ['nothing in the place of a text', () => text(null), 'object instead of text'],
  ['another word', () => oneOf('ok', 'final')('OK'), '"OK" instead of ok, final'],
])('a parser refuses %s and names it', (_, parse, why) => {
  expect(parse).toThrow(why);
});

test('an error does not repeat what is long', () => {
  expect(() => integer('x'.repeat(10_000))).toThrow(/^.{1,80}$/);
});
