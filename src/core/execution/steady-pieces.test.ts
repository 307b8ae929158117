import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { stopAt } from '../engines/transcript.ts';
import { SteadyPieces } from './steady-pieces.ts';

/** The text in pieces, cut between any two units of UTF-16. */
function cutAt(text: string, cuts: readonly number[]): string[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % (text.length + 1)), text.length])].sort((a, b) => a - b);
  return places.slice(1).map((place, at) => text.slice(places[at], place));
}

describe('pieces that are shown while an answer is written', () => {
  test('are its beginning for every cut of text, stops and characters, and with the rest they are the whole', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'n', ' ', '😀', 'é', '\uFFFD'), maxLength: 40 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'n', ' ', '😀'), minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(
        letters,
        fc.array(stop, { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (text, stops, cuts) => {
          const whole = text.slice(0, stopAt(text, stops) ?? text.length);
          const pieces = new SteadyPieces(stops);
          let shown = '';
          for (const piece of cutAt(text, cuts)) {
            const more = pieces.push(piece);
            shown += more;
            expect(Buffer.from(more).toString('utf8')).toBe(more);
          }
          expect(whole.startsWith(shown)).toBe(true);
          expect(shown + (pieces.end(whole) ?? 'nothing')).toBe(whole);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('are not held back where nothing can be taken away', () => {
    const pieces = new SteadyPieces(['n him,']);
    expect(['In the begin', 'n', ' h', 'ut', '.'].map((piece) => pieces.push(piece))).toEqual([
      'In the begi',
      'n',
      '',
      'n hut',
      '.',
    ]);
  });

  test('of an engine that ends with another text are noticed', () => {
    const pieces = new SteadyPieces([]);
    pieces.push('In the');
    expect(pieces.end('On the')).toBeUndefined();
  });
});
