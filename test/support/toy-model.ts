import { greedyMargin, surprise, type ScoredToken } from '../../src/core/engines/prompt-logprobs.ts';

// A test runs in a context of its own, where each look at a global costs as much as the arithmetic.
const { imul, exp, sqrt, max, log, cos, PI } = Math;

/** Words that the model says; what else stands in a prompt is a token a character. */
const WORDS = 64;
const CONSONANTS = 'bdfghjklmnprstvz';
const VOWELS = 'aeio';
/** What servers tell of each place. */
const TOLD = 20;
/** So peaked are its guesses: about as much as those of a language model. */
const SCALE = 5;

/** Pseudo-random numbers in [0, 1) from a seed (mulberry32), so that a test draws the same again. */
export function drawsOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = imul(state ^ (state >>> 15), state | 1);
    word ^= word + imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}

const gauss = (draw: () => number) => sqrt(-2 * log(1 - draw())) * cos(2 * PI * draw());

/** Bell-shaped enough for noise, of deviation 1, and quick. */
const nearlyGauss = (draw: () => number) => sqrt(6) * (draw() + draw() - 1);

/** How a server that has a model draws from it. */
export interface Drawing {
  /** Noise of its machine in each logit, anew each time. */
  readonly noise?: number;
  /** What it adds to the temperature that it was asked for. */
  readonly hotter?: number;
}

/**
 * A language model of 64 words whose guesses follow from the last two: played, so that thousands of audits
 * take seconds. Its logits are drawn once; `near` is the same model after its weights were rounded.
 */
export class ToyModel {
  readonly #logits: Float64Array;
  readonly #scored = new Map<number, readonly { id: number; logprob: number }[]>();
  /** Of each token after each context, at temperature 0 and 1: what was asked for once. */
  readonly #margins = [0, 1].map(() => new Float64Array(WORDS ** 3).fill(NaN));
  readonly #weights = new Float64Array(WORDS);

  private constructor(logits: Float64Array) {
    this.#logits = logits;
  }

  static of(seed: number): ToyModel {
    const draw = drawsOf(seed);
    return new ToyModel(Float64Array.from({ length: WORDS ** 3 }, () => SCALE * gauss(draw)));
  }

  /** The same model with an error of this deviation in each logit, as a rounding of its weights makes. */
  near(deviation: number, seed: number): ToyModel {
    const draw = drawsOf(seed);
    return new ToyModel(this.#logits.map((logit) => logit + deviation * gauss(draw)));
  }

  /** The likeliest words after these tokens, and their log-probabilities. */
  told(before: readonly number[]): readonly { id: number; logprob: number }[] {
    return this.#ranked(before).slice(0, TOLD);
  }

  /** What a reference with this model says of a token. */
  score(before: readonly number[], token: number): ScoredToken {
    const ranked = this.#ranked(before);
    return {
      logprob: ranked.find(({ id }) => id === token)?.logprob ?? -Infinity,
      likeliest: ranked.slice(0, TOLD).map(({ logprob }) => logprob),
    };
  }

  /** How far a token is from what this model would say, as a reference reads it. */
  margin(before: readonly number[], token: number, temperature: 0 | 1): number {
    const at = contextOf(before) * WORDS + token;
    const known = this.#margins[temperature]?.[at] ?? NaN;
    if (!Number.isNaN(known)) return known;
    const scored = this.score(before, token);
    const margin = temperature === 0 ? greedyMargin(scored) : surprise(scored, temperature);
    this.#margins[temperature]?.fill(margin, at, at + 1);
    return margin;
  }

  next(before: readonly number[], temperature: number, { noise = 0, hotter = 0 }: Drawing, draw: () => number): number {
    const from = contextOf(before) * WORDS;
    const heat = temperature + hotter;
    const weights = this.#weights;
    let best = 0;
    for (let at = 0; at < WORDS; at += 1) {
      const logit = this.#logits[from + at] ?? 0;
      weights[at] = noise === 0 ? logit : logit + noise * nearlyGauss(draw);
      if ((weights[at] ?? 0) > (weights[best] ?? 0)) best = at;
    }
    if (heat === 0) return best;
    const most = weights[best] ?? 0;
    let whole = 0;
    for (let at = 0; at < WORDS; at += 1) whole += weights[at] = exp(((weights[at] ?? 0) - most) / heat);
    let left = draw() * whole;
    for (let at = 0; at < WORDS; at += 1) if ((left -= weights[at] ?? 0) < 0) return at;
    return best;
  }

  #ranked(before: readonly number[]): readonly { id: number; logprob: number }[] {
    const context = contextOf(before);
    const known = this.#scored.get(context);
    if (known !== undefined) return known;
    const logits = [...this.#logits.subarray(context * WORDS, (context + 1) * WORDS)];
    const best = max(...logits);
    const whole = best + log(logits.reduce((sum, logit) => sum + exp(logit - best), 0));
    const ranked = logits
      .map((logit, id) => ({ id, logprob: logit - whole }))
      .toSorted((a, b) => b.logprob - a.logprob);
    this.#scored.set(context, ranked);
    return ranked;
  }
}

const contextOf = (before: readonly number[]) =>
  ((before.at(-2) ?? 0) % WORDS) * WORDS + ((before.at(-1) ?? 0) % WORDS);

export const wordOf = (id: number): string =>
  id < WORDS ? ` ${CONSONANTS[id >> 2] ?? ''}${VOWELS[id & 3] ?? ''}` : String.fromCharCode(id - WORDS);

/** The tokens of a text; `detokenize` gives it back, as far as it is Latin. */
export function tokenize(text: string): number[] {
  const tokens: number[] = [];
  for (let at = 0; at < text.length;) {
    const consonant = CONSONANTS.indexOf(text[at + 1] ?? '\0');
    const vowel = VOWELS.indexOf(text[at + 2] ?? '\0');
    const isWord = text[at] === ' ' && consonant >= 0 && vowel >= 0;
    tokens.push(isWord ? 4 * consonant + vowel : WORDS + (text.charCodeAt(at) & 255));
    at += isWord ? 3 : 1;
  }
  return tokens;
}

export const detokenize = (tokens: readonly number[]): string => tokens.map(wordOf).join('');

/** The margins of one answer that a server drew, as a reference with `known` reads them. */
export function playedMargins(
  known: ToyModel,
  served: ToyModel,
  drawing: Drawing,
  asked: { readonly prompt: readonly number[]; readonly temperature: 0 | 1; readonly tokens: number },
  draw: () => number,
): number[] {
  const text = [...asked.prompt];
  return Array.from({ length: asked.tokens }, () => {
    const token = served.next(text, asked.temperature, drawing, draw);
    const margin = known.margin(text, token, asked.temperature);
    text.push(token);
    return margin;
  });
}
