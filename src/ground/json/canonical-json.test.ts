import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJson } from './canonical-json.ts';

/** JSON with texts of whole characters. */
const aValue = fc.jsonValue({ stringUnit: 'grapheme' });

test('canonical JSON is JSON of the same value, and the same for every order of members', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), aValue), (value) => {
      fc.pre(!JSON.stringify(value).includes('__proto__'));
      const text = canonicalJson(value);
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      expect(canonicalJson(Object.fromEntries(Object.entries(value).toReversed()))).toBe(text);
    }),
  );
});

test.each([
  ['NaN', { a: NaN }],
  ['infinity', [Infinity]],
  ['an undefined member', { a: undefined }],
  ['a function', { a: () => 1 }],
  ['a lone surrogate', { a: '\ud800' }],
  ['a lone surrogate in a name', { '\udc00': 1 }],
  ['a bigint', { a: 1n }],
  ['undefined', undefined],
])('%s has no canonical JSON', (_, value) => {
  expect(() => canonicalJson(value)).toThrow(TypeError);
});
