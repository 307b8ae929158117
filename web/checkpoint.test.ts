import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { readCheckpoint } from './checkpoint.ts';

test('a checkpoint is read with those who have signed it', () => {
  const note =
    'countersign.local/log/c2\n48\nq1Xf0l7Yk2u8mPzv9Jw=\n\n— countersign.local/log/c2 AAAA\n— witness.example BBBB\n';
  expect(readCheckpoint(note)).toEqual({
    origin: 'countersign.local/log/c2',
    size: 48,
    root: 'q1Xf0l7Yk2u8mPzv9Jw=',
    signers: ['countersign.local/log/c2', 'witness.example'],
  });
});

test('no text breaks the reader', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const read = readCheckpoint(text);
      expect(read === undefined || Number.isSafeInteger(read.size)).toBe(true);
    }),
  );
});
