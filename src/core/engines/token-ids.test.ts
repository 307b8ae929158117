import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeTokens, encodeTokens } from './token-ids.ts';

test('token ids are read as they were written, four bytes each, the lowest first', () => {
  expect([...encodeTokens([1, 256])]).toEqual([1, 0, 0, 0, 0, 1, 0, 0]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffffffff })), (tokens) => {
      expect(decodeTokens(encodeTokens(tokens))).toEqual(tokens);
    }),
  );
});
