import type { FinishReason } from '../../proof/receipts/fields.ts';
import { INPUTS } from '../../proof/tasks/task-input.ts';
import { EngineError, type Replay, type Work } from './engine.ts';
import type { InferenceServer } from './inference-server.ts';
import { PromptLogprobs, greedyMargin, isLikelyEnd, surprise } from './prompt-logprobs.ts';
import { stopAt } from './transcript.ts';

interface ReplayServer {
  readonly server: InferenceServer;
  readonly model: string;
  readonly endTokens: readonly number[];
}

/** What a worker claims to have drawn. */
interface Claimed {
  readonly work: Work;
  readonly input: unknown;
  readonly tokens: readonly number[];
}

/**
 * The method `tokens` on a server that tells the log-probabilities of a prompt. Its sampler is not known, so
 * a drawn token is judged by how surprising it is, and one of temperature 0 by how far it is from the
 * likeliest.
 */
export async function replayOnServer(
  { server: remote, model, endTokens }: ReplayServer,
  { work, input, tokens }: Claimed,
  signal: AbortSignal,
): Promise<Replay> {
  const server = new PromptLogprobs(model, (path, body, both) => remote.send(path, body, both));
  const isChat = work.task === 'chat';
  const asked = isChat ? { messages: INPUTS.chat.parse(input).messages } : INPUTS.completion.parse(input);
  const { tokens: prompt, contextTokens } = await server.tokenize(asked, signal);
  const { max_tokens, temperature } = work.params;
  const room = Math.min(max_tokens, contextTokens - prompt.length);
  const last = tokens.at(-1);
  const isEnded = last !== undefined && endTokens.includes(last);
  const written = isEnded ? tokens.slice(0, -1) : tokens;
  const replayOf = (text: string, finishReason: FinishReason, isWhole: boolean, margins: number[]): Replay => {
    const output = isChat
      ? { message: { role: 'assistant', content: text }, finish_reason: finishReason }
      : { text, finish_reason: finishReason };
    const usage = { inputTokens: prompt.length, outputTokens: tokens.length };
    return { result: { output: JSON.stringify(output), usage, finishReason, tokens }, isWhole, margins };
  };
  if (tokens.length > room || written.some((token) => endTokens.includes(token)))
    return replayOf('', 'length', false, []);
  try {
    const [text, scored] = await Promise.all([
      textOf(server, { prompt, written, stops: work.params.stop }, signal),
      server.score([...prompt, ...tokens], tokens.length, signal),
    ]);
    const end = scored.at(-1);
    const isWhole = isEnded
      ? !text.isCut && end !== undefined && isLikelyEnd(end, tokens.length, temperature)
      : text.isCut
        ? !text.isCutEarlier
        : tokens.length === room;
    const margins = scored.map((token) => (temperature === 0 ? greedyMargin(token) : surprise(token, temperature)));
    return replayOf(text.text, isEnded || text.isCut ? 'stop' : 'length', isWhole, margins);
  } catch (error) {
    // It took the prompt: what it refuses is what the worker claims.
    if (error instanceof EngineError && (error.code === 'engine_refused' || error.code === 'context_exceeded'))
      return replayOf('', 'length', false, []);
    throw error;
  }
}

/**
 * What tokens write after a prompt, up to a stop text. A tokenizer may write the first token of a text
 * otherwise than one that goes on.
 */
async function textOf(
  server: PromptLogprobs,
  drawn: { readonly prompt: readonly number[]; readonly written: readonly number[]; readonly stops: readonly string[] },
  signal: AbortSignal,
): Promise<{ text: string; isCut: boolean; isCutEarlier: boolean }> {
  const { prompt, written, stops } = drawn;
  const before = await server.detokenize(prompt, signal);
  const after = async (tokens: readonly number[]) =>
    (await server.detokenize([...prompt, ...tokens], signal)).slice(before.length);
  const whole = await after(written);
  const cut = stopAt(whole, stops);
  if (cut === undefined) return { text: whole, isCut: false, isCutEarlier: false };
  const isCutEarlier = stopAt(await after(written.slice(0, -1)), stops) !== undefined;
  return { text: whole.slice(0, cut), isCut: true, isCutEarlier };
}
