import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { hashesEqual, newApiKey, parseApiKey } from './api-key.ts';

describe('API keys', () => {
  test('a new key is found by its id and its hash, and its text is in neither', () => {
    const { text, keyId, hash } = newApiKey();
    expect(parseApiKey(text)).toEqual({ keyId, hash });
    const secret = text.slice(`csk_${keyId}_`.length);
    expect(secret).toHaveLength(43);
    expect(hash).not.toContain(secret);
  });

  test('of two keys, neither id nor secret is ever the same', () => {
    const keys = Array.from({ length: 200 }, () => newApiKey());
    expect(new Set(keys.map(({ keyId }) => keyId)).size).toBe(200);
    expect(new Set(keys.map(({ hash }) => hash)).size).toBe(200);
  });

  test('a text with one character changed is another key or none', () => {
    const { text, hash } = newApiKey();
    fc.assert(
      fc.property(fc.nat({ max: text.length - 1 }), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
        fc.pre(text[at] !== character);
        const changed = parseApiKey(text.slice(0, at) + character + text.slice(at + 1));
        if (changed !== undefined && changed.hash === hash) expect(text.startsWith(`csk_${changed.keyId}`)).toBe(false);
      }),
    );
  });

  test.each([
    '',
    'csk_',
    'Bearer x',
    `csk_${'0'.repeat(16)}_${'a'.repeat(42)}`,
    `csk_${'G'.repeat(16)}_${'a'.repeat(43)}`,
  ])('"%s" is no key', (text) => {
    expect(parseApiKey(text)).toBeUndefined();
  });

  test('hashes are equal only if all their bytes are, and hashes of other lengths compare without an error', () => {
    const hash = 'ab'.repeat(32);
    expect(hashesEqual(hash, hash)).toBe(true);
    expect(hashesEqual(hash, `${'ab'.repeat(31)}ac`)).toBe(false);
    expect(hashesEqual(hash, '')).toBe(false);
    expect(hashesEqual(hash, 'ab'.repeat(31))).toBe(false);
  });
});
