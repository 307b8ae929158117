import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Transcript, stopAt } from './transcript.ts';

/** Each token is one byte of UTF-8. */
const detokenize = (tokens: readonly number[]) => Buffer.from(tokens).toString('utf8');
const write = (text: string, stops: readonly string[], maxTokens = 1_000) => {
  const transcript = new Transcript(detokenize, stops, maxTokens);
  const pieces: string[] = [];
  for (const token of Buffer.from(text)) {
    if (transcript.finished !== undefined) break;
    pieces.push(transcript.push(token));
  }
  return { transcript, pieces };
};

describe('Transcript', () => {
  test('the pieces make the text, and no piece has half a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (text) => {
        fc.pre(!text.includes('\uFFFD') && Buffer.from(text).toString() === text);
        const { transcript, pieces } = write(text, []);
        expect(pieces.join('')).toBe(text);
        expect(transcript.text).toBe(text);
        expect(pieces.some((piece) => piece.includes('\uFFFD'))).toBe(false);
      }),
    );
  });

  test('a stop text ends it and is not in it', () => {
    const { transcript, pieces } = write('one. two. three', ['. t']);
    expect([transcript.text, transcript.finished]).toEqual(['one', 'stop']);
    expect(pieces.join('').startsWith('one')).toBe(true);
  });

  test('it ends at its length', () => {
    const { transcript } = write('abcdef', [], 3);
    expect([transcript.text, transcript.finished, transcript.tokens.length]).toEqual(['abc', 'length', 3]);
  });
});

describe('stopAt', () => {
  test('the first of several stop texts counts', () => {
    expect([stopAt('a b c', ['c', 'b']), stopAt('a b c', ['x']), stopAt('a', [])]).toEqual([2, undefined, undefined]);
  });
});
