import { stopAt } from '../engines/transcript.ts';

/**
 * What may be shown of an answer while it is written, so that what was shown is always the beginning of what
 * is signed. Held back is the tail that may be the beginning of a stop text, which would be taken away, and
 * half of a character that is two in UTF-16.
 */
export class SteadyPieces {
  readonly #stops: readonly string[];
  #shown = '';
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** The text that may be shown after this piece and was not yet; often "". */
  push(piece: string): string {
    this.#held += piece;
    const certain = this.#held.length - uncertainLength(this.#held, this.#stops);
    const more = this.#held.slice(0, Math.min(certain, stopAt(this.#held, this.#stops) ?? certain));
    this.#shown += more;
    this.#held = this.#held.slice(more.length);
    return more;
  }

  /** Whether anything was shown. */
  get isBegun(): boolean {
    return this.#shown !== '';
  }

  /** The rest of the whole text; undefined where the whole begins with something else than what was shown. */
  end(whole: string): string | undefined {
    return whole.startsWith(this.#shown) ? whole.slice(this.#shown.length) : undefined;
  }
}

/** How many characters of the end of the text are not certain. */
function uncertainLength(text: string, stops: readonly string[]): number {
  const half = /[\uD800-\uDBFF]$/.test(text.slice(-1)) ? 1 : 0;
  return Math.max(half, ...stops.map((stop) => begunLength(text, stop)));
}

/** The longest beginning of this stop text with which the text ends. */
function begunLength(text: string, stop: string): number {
  for (let length = Math.min(stop.length, text.length); length > 0; length -= 1)
    if (text.endsWith(stop.slice(0, length))) return length;
  return 0;
}
