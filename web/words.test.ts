import { expect, test } from '@jest/globals';
import { PROMISES } from '../src/proof/receipts/promises/promises.ts';
import { GAPS, PROOFS, howSaid, saysOf } from './words.ts';

test('every word that a verdict can have is said in a sentence, and none that it cannot have', () => {
  for (const [words, known] of [
    [PROOFS, PROMISES.properties],
    [GAPS, PROMISES.notChecked],
  ] as const) {
    const said = [...Object.keys(words.shown), ...Object.keys(words.others)];
    expect(said.toSorted()).toEqual([...known].toSorted());
    for (const word of known) expect(saysOf(words, word)).toMatch(/^[A-Za-z].{15,}[^.]$/);
  }
  expect(saysOf(PROOFS, 'NEW_WORD')).toBe('new word');
});

test('every promise has a few words of its own', () => {
  const names = PROMISES.kept(new Set(PROMISES.properties));
  expect(names.length).toBeGreaterThan(3);
  for (const name of names) expect(howSaid(['binding', name])).not.toBe(name);
  expect(howSaid(['binding'])).toBe('signatures and digests agree');
});
