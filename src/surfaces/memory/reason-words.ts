/** More words of one text are not looked for. */
const MAX_WORDS = 64;
const MAX_CHARACTERS = 64;

/** The words of a text by which it is found: letters and digits, lower case, each once. */
export function wordsOf(text: string): string[] {
  const words =
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}_]+/gu) ?? [];
  return [...new Set(words.map((word) => Array.from(word).slice(0, MAX_CHARACTERS).join('')))].slice(0, MAX_WORDS);
}
