import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { JsonRefused, parseCanonicalJson, parseStrictJson } from './strict-json.ts';

const LIMITS = { maxDepth: 8 };

describe('strict JSON', () => {
  test('agrees with JSON.parse on whatever has no duplicate member and is not too deep', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), (text) => {
        fc.pre(!text.includes('__proto__'));
        expect(parseStrictJson(text, LIMITS)).toEqual(JSON.parse(text));
        const compact = JSON.stringify(JSON.parse(text));
        expect(parseCanonicalJson(compact, LIMITS)).toEqual(JSON.parse(text));
      }),
    );
  });

  test.each([
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":{"b":1,"b":1}}',
    '{"__proto__":1}',
    '[[[[[[[[[1]]]]]]]]]',
    '{"a":1',
    '"',
    '{"a" : "\\"", "a":1}',
    '',
  ])('refuses %s', (text) => {
    expect(() => parseStrictJson(text, LIMITS)).toThrow(JsonRefused);
    expect(() => parseCanonicalJson(text, LIMITS)).toThrow(JsonRefused);
  });

  test('takes brackets and quotes inside strings for what they are', () => {
    const text = JSON.stringify({ stop: ['[[[[[[[[[[[[', '{"a":1,"a":2}', '\\"'] });
    expect(parseStrictJson(text, LIMITS)).toEqual(JSON.parse(text));
    expect(parseCanonicalJson(text, LIMITS)).toEqual(JSON.parse(text));
  });
});
