/**
 * A text that comes in pieces, in whole characters: the first half of one that is two in UTF-16 waits for the
 * second. What never gets its other half becomes U+FFFD, as it does wherever text becomes bytes, so that the
 * pieces that are shown are the text that is signed.
 */
export class WholeCharacters {
  #half = '';

  /** The whole characters that are there after this piece and were not yet. */
  push(piece: string): string {
    const text = this.#half + piece;
    this.#half = /[\uD800-\uDBFF]$/.exec(text)?.[0] ?? '';
    return wellFormed(text.slice(0, text.length - this.#half.length));
  }

  /** What is left where no piece follows. */
  end(): string {
    const rest = wellFormed(this.#half);
    this.#half = '';
    return rest;
  }
}

/** The text with U+FFFD for each half of a character that stands alone. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\uFFFD');
}
