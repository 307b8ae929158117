import { z } from 'zod';
import type { FinishReason } from '../../proof/receipts/fields.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { EngineError, type EngineResult } from './engine.ts';
import { ToolCallPiece, ToolCalls } from './tool-calls.ts';

const Count = z.number().int().min(0);
export const ServerUsage = z.object({ prompt_tokens: Count.nullish(), completion_tokens: Count.nullish() });

/** Reasoning has two names among servers, and one of them sends it as a part of the content. */
const Said = z.object({
  content: z
    .union([
      z.string(),
      z.array(z.looseObject({ type: z.string(), text: z.string().optional(), thinking: z.unknown().optional() })),
    ])
    .nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
  tool_calls: z.array(ToolCallPiece).nullish(),
});

const Choice = z.object({
  index: Count.nullish(),
  text: z.string().nullish(),
  token_ids: z.array(Count).nullish(),
  delta: Said.nullish(),
  /** What stands in the place of `delta` where a server answers whole although it was asked to stream. */
  message: Said.nullish(),
  logprobs: z
    .object({ content: z.array(z.looseObject({ token: z.string(), logprob: z.number() })).nullish() })
    .nullish(),
  finish_reason: z.string().nullish(),
});

/** A frame as servers send it: any member can be null or away. */
const Frame = z.object({
  choices: z.array(Choice).nullish(),
  usage: ServerUsage.nullish(),
  error: z.unknown().optional(),
});

/** How servers say why an answer ended. */
const ENDS: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  eos: 'stop',
  eos_token: 'stop',
  end_turn: 'stop',
  stop_sequence: 'stop',
  length: 'length',
  max_tokens: 'length',
  model_length: 'length',
  tool_calls: 'tool_calls',
  tool_call: 'tool_calls',
  tool_use: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
};
/** Where a server names several, the one that takes most away from the answer. */
const GRAVEST_FIRST = ['content_filter', 'length', 'tool_calls', 'stop'] as const;

/** One answer of a server, as it grows frame by frame. Whatever is wrong with it is an EngineError. */
export class ServerAnswer {
  readonly #isChat: boolean;
  readonly #calls = new ToolCalls();
  readonly #logprobs: object[] = [];
  readonly #tokens: number[] = [];
  readonly #ends = new Set<FinishReason>();
  #text = '';
  #reasoning = '';
  #pieces = 0;
  #usage: z.infer<typeof ServerUsage> = {};

  constructor(isChat: boolean) {
    this.#isChat = isChat;
  }

  /** Takes the next frame, and returns the text that it adds. */
  add(data: string): string {
    const frame = readFrame(data);
    this.#usage = frame.usage ?? this.#usage;
    const choice = frame.choices?.find(({ index }) => index == null || index === 0);
    if (choice == null) return '';
    this.#end(choice.finish_reason);
    const said = choice.delta ?? choice.message;
    for (const piece of said?.tool_calls ?? []) this.#calls.add(piece);
    this.#logprobs.push(...(choice.logprobs?.content ?? []));
    this.#tokens.push(...(choice.token_ids ?? []));
    const thought = reasoningOf(said);
    const piece = this.#isChat ? textOf(said) : (choice.text ?? '');
    this.#reasoning += thought;
    this.#text += piece;
    if (piece !== '' || thought !== '') this.#pieces += 1;
    if (this.#text.length + this.#reasoning.length > MAX_OUTPUT_BYTES)
      throw new EngineError('engine_refused', 'The answer is longer than an output may be.');
    return piece;
  }

  /** The whole. Reasoning is part of it where it was asked for, and is counted in any case. */
  result(wants: { readonly reasoning: boolean; readonly tokens: boolean }): EngineResult {
    const finishReason = this.#finishReason();
    const output = this.#isChat
      ? this.#chatOutput(finishReason, wants.reasoning)
      : { text: this.#text, finish_reason: finishReason };
    return {
      output: JSON.stringify(output),
      usage: {
        inputTokens: this.#usage.prompt_tokens ?? 0,
        outputTokens: this.#usage.completion_tokens ?? this.#pieces,
      },
      finishReason,
      ...(wants.tokens ? { tokens: this.#tokens } : {}),
    };
  }

  #end(reason: string | null | undefined): void {
    if (reason == null || reason === '') return;
    const known = Object.hasOwn(ENDS, reason) ? ENDS[reason] : undefined;
    // An answer that the server broke off is not a whole one.
    if (known === undefined)
      throw new EngineError('engine_error', `The inference server broke the answer off: ${reason.slice(0, 60)}.`);
    this.#ends.add(known);
  }

  #finishReason(): FinishReason {
    const said = GRAVEST_FIRST.find((reason) => this.#ends.has(reason));
    if (said === undefined)
      throw new EngineError('engine_error', 'The inference server ended the stream before the answer was whole.');
    const hasCalls = this.#calls.count > 0;
    if (said === 'stop' && hasCalls) return 'tool_calls';
    if (said === 'tool_calls' && !hasCalls)
      throw new EngineError('engine_error', 'The inference server said that it calls a tool, and called none.');
    return said;
  }

  #chatOutput(finishReason: FinishReason, wantsReasoning: boolean): object {
    const calls = this.#calls.all();
    return {
      message: {
        role: 'assistant',
        content: this.#text === '' && calls.length > 0 ? null : this.#text,
        ...(wantsReasoning && this.#reasoning !== '' ? { reasoning_content: this.#reasoning } : {}),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      },
      finish_reason: finishReason,
      ...(this.#logprobs.length > 0 ? { logprobs: { content: this.#logprobs } } : {}),
    };
  }
}

function readFrame(data: string): z.infer<typeof Frame> {
  let frame: z.infer<typeof Frame>;
  try {
    frame = Frame.parse(JSON.parse(data));
  } catch (cause) {
    throw new EngineError('engine_error', 'The inference server sent a chunk of another shape.', { cause });
  }
  // What it says of its trouble is for its operator, and stands in the log of the worker.
  if (frame.error != null)
    throw new EngineError('engine_error', 'The inference server failed while it answered.', { cause: frame.error });
  return frame;
}

function textOf(said: z.infer<typeof Said> | null | undefined): string {
  const content = said?.content;
  if (content == null || typeof content === 'string') return content ?? '';
  return content.map(({ type, text }) => (type === 'text' ? (text ?? '') : '')).join('');
}

function reasoningOf(said: z.infer<typeof Said> | null | undefined): string {
  const content = said?.content;
  const parts = Array.isArray(content) ? content.map(({ thinking }) => thoughtIn(thinking)).join('') : '';
  return (said?.reasoning_content ?? said?.reasoning ?? '') + parts;
}

function thoughtIn(thinking: unknown): string {
  const parts = z.array(z.looseObject({ text: z.string() })).safeParse(thinking);
  if (parts.success) return parts.data.map(({ text }) => text).join('');
  return typeof thinking === 'string' ? thinking : '';
}
