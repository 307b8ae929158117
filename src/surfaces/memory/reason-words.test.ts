import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { wordsOf } from './reason-words.ts';

test('words are found whatever their case and what stands between them', () => {
  expect(wordsOf('Out of  MEMORY: the GPU-0 <b>größer</b>; out_of')).toEqual([
    ...['out', 'of', 'memory', 'the', 'gpu', '0', 'b', 'größer', 'out_of'],
  ]);
  expect(wordsOf(' — … ')).toEqual([]);
});

test('no text has more than 64 words of 64 characters, and each is whole', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3_000 }), (text) => {
      const words = wordsOf(text);
      expect(words.length).toBeLessThanOrEqual(64);
      for (const word of words) {
        expect(Array.from(word).length).toBeLessThanOrEqual(64);
        expect(word).toMatch(/^[\p{L}\p{N}_]+$/u);
      }
    }),
  );
  expect(wordsOf('𝒳x'.repeat(100))).toHaveLength(1);
});
