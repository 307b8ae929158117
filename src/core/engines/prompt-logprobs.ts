import { z } from 'zod';
import { EngineError } from './engine.ts';

/**
 * What vLLM's server says of tokens: `/tokenize`, `/detokenize`, and the log-probabilities of a prompt that
 * `/v1/completions` tells with `prompt_logprobs` (vLLM, "OpenAI-Compatible Server": extra parameters and
 * extra APIs).
 */
const Tokenized = z.looseObject({
  tokens: z.array(z.number().int().min(0)),
  max_model_len: z.number().int().min(1),
});
const Detokenized = z.looseObject({ prompt: z.string() });
const Place = z.record(
  z.string().regex(/^\d{1,10}$/),
  z.looseObject({ logprob: z.number(), decoded_token: z.string().nullish() }),
);
const Scored = z.looseObject({
  choices: z.tuple([z.looseObject({ prompt_logprobs: z.array(Place.nullable()) })]),
});

/** How many of the likeliest tokens are asked for at each place; what vLLM allows by default. */
const LIKELIEST = 20;
/** More than any difference between honest machines. */
const MOST = 20;

export type Post = (path: string, body: object, signal: AbortSignal) => Promise<Response>;

/** One place of a text: how likely the token is that stands there, and which would have been. */
export interface ScoredToken {
  /** Natural logarithm, at temperature 1; -Infinity where the server does not tell it. */
  readonly logprob: number;
  /** Of the likeliest tokens, in falling order. */
  readonly likeliest: readonly number[];
  /** The text of the token that stands there, where the server tells it. */
  readonly text?: string;
}

/** A server that scores texts with its own copy of a model. Throws EngineError. */
export class PromptLogprobs {
  readonly #model: string;
  readonly #post: Post;

  constructor(model: string, post: Post) {
    this.#model = model;
    this.#post = post;
  }

  /**
   * The tokens of a prompt, or of turns as the model's template writes them, and how many the model takes.
   */
  async tokenize(
    input: { prompt: string } | { messages: readonly object[] },
    signal: AbortSignal,
  ): Promise<{ tokens: number[]; contextTokens: number }> {
    const wanted = 'prompt' in input ? input : { messages: input.messages, add_generation_prompt: true };
    const { tokens, max_model_len } = await this.#ask('/tokenize', wanted, Tokenized, signal);
    return { tokens, contextTokens: max_model_len };
  }

  /** The tokens of a text by itself, with none before it. */
  async tokensOf(text: string, signal: AbortSignal): Promise<number[]> {
    const wanted = { prompt: text, add_special_tokens: false };
    return (await this.#ask('/tokenize', wanted, Tokenized, signal)).tokens;
  }

  async detokenize(tokens: readonly number[], signal: AbortSignal): Promise<string> {
    return tokens.length === 0 ? '' : (await this.#ask('/detokenize', { tokens }, Detokenized, signal)).prompt;
  }

  /** The last `count` tokens of a text, each after all before it. */
  async score(tokens: readonly number[], count: number, signal: AbortSignal): Promise<ScoredToken[]> {
    const body = { prompt: tokens, max_tokens: 1, temperature: 0, prompt_logprobs: LIKELIEST };
    const scored = await this.#ask('/v1/completions', body, Scored, signal);
    const places = scored.choices[0].prompt_logprobs;
    if (places.length !== tokens.length)
      throw new EngineError('engine_error', 'The reference server scored another number of tokens than it was sent.');
    return tokens.slice(tokens.length - count).map((token, at) => {
      const place = places[tokens.length - count + at] ?? {};
      const all = Object.entries(place).map(([id, { logprob }]) => ({ id: Number(id), logprob }));
      const own = place[String(token)];
      return {
        ...(own?.decoded_token == null ? {} : { text: own.decoded_token }),
        logprob: own?.logprob ?? -Infinity,
        likeliest: all
          .map(({ logprob }) => logprob)
          .toSorted((a, b) => b - a)
          .slice(0, LIKELIEST),
      };
    });
  }

  async #ask<Schema extends z.ZodType>(
    path: string,
    body: object,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<z.infer<Schema>> {
    const response = await this.#post(path, { model: this.#model, ...body }, signal);
    const parsed = schema.safeParse(await response.json().catch(() => undefined));
    if (!parsed.success)
      throw new EngineError('engine_error', `The reference server answered ${path} in another shape than vLLM does.`);
    return parsed.data;
  }
}

/** Honest answers that end where they seldom would: as many as this in a share of answers. */
const FALSE_ENDS = 1e-4;

/**
 * Whether an answer of `count` tokens may well end with this one. One token says little by its surprise; but
 * a model that ends with the probability p at a place does so by chance in at most the share `count × p` of
 * its answers.
 */
export function isLikelyEnd(end: ScoredToken, count: number, temperature: number): boolean {
  if (temperature === 0) return true;
  const { whole } = massOf(end, temperature);
  return (count * Math.exp(end.logprob / temperature)) / whole >= FALSE_ENDS;
}

/** At temperature 0: half the difference between the likeliest token's logit and the claimed one's. */
export function greedyMargin({ logprob, likeliest: [best = logprob] }: ScoredToken): number {
  return Math.min(MOST, Math.max(0, (best - logprob) / 2));
}

/**
 * How surprising a drawn token is: -ln of the probability that a draw is as unlikely as it or more. Of honest
 * draws its mean is 1 or less, whatever the text. What the server does not tell is counted for the token: the
 * rest of the probability is taken as large as it can be at this temperature, which must be at most 1.
 */
export function surprise(token: ScoredToken, temperature: number): number {
  const { rest, whole } = massOf(token, temperature);
  const tail = token.likeliest
    .filter((value) => value <= token.logprob)
    .reduce((sum, value) => sum + Math.exp(value / temperature), rest);
  return Math.min(MOST, -Math.log(Math.min(1, Math.max(tail / whole, 1e-12))));
}

/**
 * What a temperature makes of the probabilities, before they are made to sum to 1: of the tokens that are not
 * told, at most, and of all.
 */
function massOf({ likeliest }: ScoredToken, temperature: number): { rest: number; whole: number } {
  const least = likeliest.at(-1) ?? 0;
  const untold = Math.max(0, 1 - likeliest.reduce((sum, value) => sum + Math.exp(value), 0));
  const rest = untold * Math.exp(least * (1 / temperature - 1));
  return { rest, whole: likeliest.reduce((sum, value) => sum + Math.exp(value / temperature), rest) };
}
