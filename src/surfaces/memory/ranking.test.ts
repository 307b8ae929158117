import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lexemes } from './lexemes.ts';
import { rank } from './ranking.ts';
import { TextIndex } from './text-index.ts';

const ids = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 12 });
const meaningOf = (found: readonly string[]) => found.map((id, at) => ({ id, similarity: 1 - at / 100 }));
const wordsOf = (found: readonly string[], coverage: (at: number) => number) =>
  found.map((id, at) => ({ id, score: 50 - at, coverage: coverage(at), words: ['w'] }));

test('a hybrid search is that by meaning where no hit by words covers enough, and each half alone keeps its order', () => {
  fc.assert(
    fc.property(ids, ids, (meaning, words) => {
      const weak = rank(
        'hybrid',
        meaningOf(meaning),
        wordsOf(words, () => 0.19),
      );
      expect(weak.map(({ id }) => id)).toEqual(meaning);
      const strong = wordsOf(words, () => 1);
      expect(rank('semantic', meaningOf(meaning), []).map(({ id }) => id)).toEqual(meaning);
      expect(rank('text', [], strong).map(({ id }) => id)).toEqual(words);
      const both = rank('hybrid', meaningOf(meaning), strong);
      expect(new Set(both.map(({ id }) => id))).toEqual(new Set([...meaning, ...words]));
      // What both halves put first is first.
      if (meaning[0] !== undefined && meaning[0] === words[0]) expect(both[0]?.id).toBe(meaning[0]);
    }),
  );
});

test('hits by words that do not count take no place from those that do', () => {
  const words = wordsOf(['a', 'b', 'c'], (at) => (at === 2 ? 0.9 : 0.1));
  const found = rank('hybrid', meaningOf(['x', 'c']), words);
  expect(found.map(({ id, text }) => [id, text?.rank])).toEqual([
    ['c', 1],
    ['x', undefined],
  ]);
});

test('what has all words of the question stands before what only means something alike, and one word counts little', () => {
  const meaning = Array.from({ length: 50 }, (_, at) => `m${String(at).padStart(2, '0')}`);
  const all = rank(
    'hybrid',
    meaningOf(meaning),
    wordsOf(['m40', 'm41'], (at) => (at === 0 ? 1 : 0.3)),
  );
  expect(all.slice(0, 2).map(({ id }) => id)).toEqual(['m40', 'm00']);
  const few = rank(
    'hybrid',
    meaningOf(meaning),
    wordsOf(['other', 'm40'], () => 0.3),
  );
  expect(few[0]?.id).toBe('m00');
});

test('words are compared without case and forms, English by stems, and scripts without spaces by pairs', () => {
  expect(lexemes('The Peanuts, ＡＬＬＥＲＧＩＥＳ and allergy!')).toEqual([
    'the',
    'peanut',
    'allergi',
    'and',
    'allergi',
  ]);
  expect(lexemes('猫が好き')).toEqual(['猫が', 'が好', '好き']);
  expect(lexemes('Übung 42 é')).toEqual(['übung', '42', 'é'.normalize('NFC')]);
  expect(lexemes(`${'a'.repeat(65)} ok`)).toEqual(['ok']);
});

test('an index forgets a text entirely, in whatever order texts come, change and go', () => {
  const word = fc.constantFrom('red', 'green', 'blue', 'cat', 'dog');
  const text = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(' '));
  const step = fc.record({ id: fc.constantFrom('a', 'b', 'c'), text: fc.option(text) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const index = new TextIndex();
      const known = new Map<string, string>();
      for (const one of steps) {
        if (one.text === null) {
          index.remove(one.id, known.get(one.id) ?? '');
          known.delete(one.id);
        } else {
          index.put(one.id, one.text);
          known.set(one.id, one.text);
        }
      }
      const fresh = new TextIndex();
      for (const [id, known_text] of known) fresh.put(id, known_text);
      for (const query of ['red', 'cat dog', 'blue unknown'])
        expect(index.search(query, () => true, 10)).toEqual(fresh.search(query, () => true, 10));
    }),
  );
});
