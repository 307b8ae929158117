import { PromptLogprobs, greedyMargin, surprise, type ScoredToken } from '../../core/engines/prompt-logprobs.ts';
import type { EndpointAnswer } from './model-endpoint.ts';
import { inputOf, type AuditQuestion } from './questions.ts';

/** Why an answer says nothing of the model that wrote it. */
export type Unread =
  /** The endpoint told neither ids nor texts of its tokens. */
  | 'tokens_untold'
  /** The texts of its tokens are not those that the reference cuts the answer into. */
  | 'tokens_cut_otherwise'
  /** The tokens it told do not write the answer that it gave. */
  | 'text_differs'
  /** Part of the answer is reasoning, which stands outside of its text. */
  | 'reasoning'
  | 'empty'
  | 'too_long';

/** One answer as the reference reads it: how far each token is from what the model would have said. */
export type Reading =
  | {
      readonly question: AuditQuestion;
      readonly answer: EndpointAnswer;
      readonly tokens: readonly number[];
      readonly margins: readonly number[];
      readonly promptTokens: number;
    }
  | { readonly question: AuditQuestion; readonly answer: EndpointAnswer; readonly unread: Unread };

/** So many digits of a margin are kept; what is judged is what the report shows. */
const ROUNDED = 1e6;

/**
 * Reads an answer by the prompt log-probabilities of the reference, as the method `tokens` does
 * (`core/engines/server-replay.ts`). Throws EngineError where the reference fails.
 */
export async function readAnswer(
  reference: PromptLogprobs,
  question: AuditQuestion,
  answer: EndpointAnswer,
  signal: AbortSignal,
): Promise<Reading> {
  const unread = (why: Unread): Reading => ({ question, answer, unread: why });
  if (answer.hasReasoning) return unread('reasoning');
  if (answer.text === '') return unread('empty');
  if (answer.ids === undefined && answer.pieces === undefined) return unread('tokens_untold');
  const { tokens: prompt, contextTokens } = await reference.tokenize(inputOf(question), signal);
  const tokens = answer.ids ?? (await reference.tokensOf(answer.text, signal));
  if (prompt.length + tokens.length + 1 > contextTokens) return unread('too_long');
  if (answer.ids !== undefined && !(await writes(reference, prompt, tokens, answer.text, signal)))
    return unread('text_differs');
  const scored = await reference.score([...prompt, ...tokens], tokens.length, signal);
  if (answer.ids === undefined && !isCutAlike(scored, answer.pieces ?? [])) return unread('tokens_cut_otherwise');
  const { temperature } = question;
  const margins = scored
    .map((token) => (temperature === 0 ? greedyMargin(token) : surprise(token, temperature)))
    .map((margin) => Math.round(margin * ROUNDED) / ROUNDED);
  return { question, answer, tokens, margins, promptTokens: prompt.length };
}

/**
 * Whether these tokens write this text after the prompt. The last may be the one that ends an answer, which
 * writes nothing for the reader, and half a character at the end is no text yet.
 */
async function writes(
  reference: PromptLogprobs,
  prompt: readonly number[],
  tokens: readonly number[],
  text: string,
  signal: AbortSignal,
): Promise<boolean> {
  const before = await reference.detokenize(prompt, signal);
  for (const written of [tokens, tokens.slice(0, -1)]) {
    const whole = (await reference.detokenize([...prompt, ...written], signal)).slice(before.length);
    if (trimmed(whole) === trimmed(text)) return true;
  }
  return false;
}

const trimmed = (text: string) => text.replace(/\uFFFD+$/, '').trim();

/**
 * Whether the reference cuts the answer where the endpoint says that its tokens end; an end that is told as a
 * token of its own is no part of the text.
 */
function isCutAlike(scored: readonly ScoredToken[], pieces: readonly string[]): boolean {
  const own = pieces.length === scored.length + 1 ? pieces.slice(0, -1) : pieces;
  if (own.length !== scored.length) return false;
  return scored.every(({ text }, at) => text === undefined || spoken(text) === spoken(own[at] ?? ''));
}

/** Tokenizers mark a space at the beginning of a token each in a way of their own. */
const spoken = (piece: string) => piece.replace(/^[▁Ġ ]+/, '').replaceAll('Ċ', '\n');
