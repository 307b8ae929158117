import { stemmer } from 'stemmer';

/** A text has no more lexemes that count than this; the rest of a very long one is not indexed. */
const MAX_LEXEMES = 4_096;
const MAX_WORD = 64;

const WORD = /[\p{L}\p{M}\p{N}]+/gu;
/** Scripts that put no space between words: pairs of characters stand in for these. */
const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}]/u;
const RUNS =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{M}]+|[^\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}]+/gu;
const LATIN = /^[a-z]+$/;

/**
 * The words of a text in the form in which full text compares them: compatibility forms and case are folded,
 * English words are cut to their stems, and scripts without spaces give pairs of characters. Repetitions
 * stay.
 */
export function lexemes(text: string): string[] {
  const found: string[] = [];
  for (const [word] of text.normalize('NFKC').toLowerCase().matchAll(WORD)) {
    if (found.length >= MAX_LEXEMES) break;
    for (const [run] of word.matchAll(RUNS)) {
      if (UNSPACED.test(run)) found.push(...pairs(run));
      else if (run.length <= MAX_WORD) found.push(LATIN.test(run) ? stemmer(run) : run);
    }
  }
  return found.slice(0, MAX_LEXEMES);
}

function pairs(run: string): string[] {
  const characters = Array.from(run);
  if (characters.length < 2) return characters;
  return characters.slice(1).map((character, at) => `${characters[at] ?? ''}${character}`);
}
