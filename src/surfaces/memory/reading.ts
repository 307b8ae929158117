/** What nobody sees and what changes no word: soft hyphens, and marks where a line may be broken or not. */
const UNSEEN = /[\u00ad\u200b\u2060\ufeff]/g;
const SINGLE_QUOTES = /[\u2018\u2019\u201a\u201b\u02bc\u00b4`]/g;
const DOUBLE_QUOTES = /[\u201c\u201d\u201e\u201f\u00ab\u00bb]/g;
const DASHES = /[\u2010-\u2015\u2212]/g;
/** What ends a sentence without changing it, in several scripts. A question is another thing, and stays. */
const END = /[\s.!\u3002\u0964\u06d4\u1362]+$/u;
const BEFORE_MARKS = /\s+(?=[.,;:!?](?:\s|$))/g;

/**
 * A text as it reads: two with the same reading say the same, word for word. Compatibility forms, case,
 * spaces, kinds of quotation marks and dashes, and the mark that ends it do not matter. A comma does: it can
 * change what is said; so does everything within a number or a name.
 */
export function readingOf(text: string): string {
  const folded = text
    .normalize('NFKC')
    .replace(UNSEEN, '')
    .replace(SINGLE_QUOTES, "'")
    .replace(DOUBLE_QUOTES, '"')
    .replace(DASHES, '-')
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .replace(BEFORE_MARKS, '')
    .trim();
  // A text of such marks alone is what it is.
  return folded.replace(END, '') || folded;
}
