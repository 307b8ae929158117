import type { FinishReason } from '../../proof/receipts/fields.ts';

/**
 * The text that tokens make, as it grows: a character that is not whole yet is kept back, and a stop text
 * ends it. The worker writes with it and the attestor reads with it, so that both mean the same by the same
 * tokens.
 */
export class Transcript {
  readonly #detokenize: (tokens: readonly number[]) => string;
  readonly #stops: readonly string[];
  readonly #maxTokens: number;
  readonly #tokens: number[] = [];
  #text = '';
  #finished: FinishReason | undefined;

  constructor(detokenize: (tokens: readonly number[]) => string, stops: readonly string[], maxTokens: number) {
    this.#detokenize = detokenize;
    this.#stops = stops;
    this.#maxTokens = maxTokens;
  }

  get text(): string {
    return this.#text;
  }

  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /** Why no further token belongs to it, or undefined while one does. */
  get finished(): FinishReason | undefined {
    return this.#finished;
  }

  /** The piece of text that this token adds, often "". */
  push(token: number): string {
    this.#tokens.push(token);
    if (this.#tokens.length >= this.#maxTokens) this.#finished = 'length';
    const next = this.#detokenize(this.#tokens);
    const cut = stopAt(next, this.#stops);
    if (cut !== undefined) this.#finished = 'stop';
    const piece = next.slice(this.#text.length, cut ?? next.length);
    if (cut === undefined && piece.endsWith('\uFFFD') && this.#finished === undefined) return '';
    this.#text = next.slice(0, cut ?? next.length);
    return piece;
  }
}

/** Where the first of these texts begins, if any is there. */
export function stopAt(text: string, stops: readonly string[]): number | undefined {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? undefined : Math.min(...found);
}
