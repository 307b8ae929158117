import { z } from 'zod';
import type { FinishReason } from '../../proof/receipts/fields.ts';
import { MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { EngineError, type EngineResult } from './engine.ts';
import { failedMidway } from './inference-server.ts';
import { ToolCallPiece, ToolCalls } from './tool-calls.ts';
import { WholeCharacters, wellFormed } from './whole-characters.ts';

const Count = z.number().int().min(0);
/** What counts nothing is no usage: the pieces are counted instead. */
const Told = Count.nullish().catch(undefined);
export const ServerUsage = z.object({ prompt_tokens: Told, completion_tokens: Told });

/** A text under a name that some servers give to something else, which then says nothing. */
const Perhaps = z.string().optional().catch(undefined);
const Said = z.object({
  content: z
    .union([
      z.string(),
      z.array(z.looseObject({ type: z.string(), text: z.string().nullish(), thinking: z.unknown().optional() })),
    ])
    .nullish(),
  /** What a model says instead of the answer; it is said where the answer would stand. */
  refusal: z.string().nullish(),
  // Reasoning has many names among servers, and one of them sends it as a part of the content.
  reasoning_content: Perhaps,
  reasoning: Perhaps,
  reasoning_text: Perhaps,
  thinking: Perhaps,
  reasoning_details: z
    .array(z.looseObject({ text: z.string().nullish(), summary: z.string().nullish() }))
    .optional()
    .catch(undefined),
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
  /** What kind of document it is: that of an error has a name of its own with some servers. */
  object: z.unknown().optional(),
  type: z.unknown().optional(),
});

/** How servers say why an answer ended, in small letters. */
const ENDS: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  eos: 'stop',
  eos_token: 'stop',
  end: 'stop',
  end_turn: 'stop',
  complete: 'stop',
  stop_sequence: 'stop',
  stop_token: 'stop',
  length: 'length',
  max_length: 'length',
  max_tokens: 'length',
  max_output_tokens: 'length',
  model_length: 'length',
  model_context_window_exceeded: 'length',
  tool_calls: 'tool_calls',
  tool_call: 'tool_calls',
  tool_use: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
  content_filtered: 'content_filter',
  guardrail_intervened: 'content_filter',
  recitation: 'content_filter',
  refusal: 'content_filter',
  safety: 'content_filter',
  sensitive: 'content_filter',
};
/** Where a server names several, the one that takes most away from the answer. */
const GRAVEST_FIRST = ['content_filter', 'length', 'tool_calls', 'stop'] as const;

/** Of what a server says of its trouble, so much is kept for the log. */
const MAX_CAUSE = 300;

/** One answer of a server, as it grows frame by frame. Whatever is wrong with it is an EngineError. */
export class ServerAnswer {
  readonly #isChat: boolean;
  readonly #calls = new ToolCalls();
  readonly #logprobs: object[] = [];
  readonly #tokens: number[] = [];
  readonly #ends = new Set<FinishReason>();
  readonly #characters = new WholeCharacters();
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
    const told = this.#isChat ? textOf(said) : (choice.text ?? '');
    const piece = this.#characters.push(told);
    this.#reasoning += thought;
    this.#text += piece;
    if (told !== '' || thought !== '') this.#pieces += 1;
    if (this.#text.length + this.#reasoning.length > MAX_OUTPUT_BYTES)
      throw new EngineError('engine_refused', 'The answer is longer than an output may be.');
    return piece;
  }

  /** The whole. Reasoning is part of it where it was asked for, and is counted in any case. */
  result(wants: { readonly reasoning: boolean; readonly tokens: boolean }): EngineResult {
    const finishReason = this.#finishReason();
    this.#text += this.#characters.end();
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
    const name = reason.toLowerCase();
    const known = Object.hasOwn(ENDS, name) ? ENDS[name] : undefined;
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
        ...(wantsReasoning && this.#reasoning !== '' ? { reasoning_content: wellFormed(this.#reasoning) } : {}),
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
  if (frame.error != null) throw failedMidway(frame.error);
  if (frame.object === 'error' || frame.type === 'error') throw failedMidway(data.slice(0, MAX_CAUSE));
  return frame;
}

function textOf(said: z.infer<typeof Said> | null | undefined): string {
  const content = said?.content;
  const refusal = said?.refusal ?? '';
  if (content == null || typeof content === 'string') return (content ?? '') + refusal;
  return content.map(({ type, text }) => (TEXTS.has(type) ? (text ?? '') : '')).join('') + refusal;
}

const TEXTS: ReadonlySet<string> = new Set(['text', 'output_text']);

function reasoningOf(said: z.infer<typeof Said> | null | undefined): string {
  const content = said?.content;
  const parts = Array.isArray(content) ? content.map(({ thinking }) => thoughtIn(thinking)).join('') : '';
  const details = said?.reasoning_details?.map(({ text, summary }) => text ?? summary ?? '').join('');
  // Servers that know several names say the same under each, or nothing under one.
  const names = [said?.reasoning_content, said?.reasoning, said?.reasoning_text, said?.thinking, details];
  return (names.find((text) => text !== undefined && text !== '') ?? '') + parts;
}

function thoughtIn(thinking: unknown): string {
  const parts = z.array(z.looseObject({ text: z.string() })).safeParse(thinking);
  if (parts.success) return parts.data.map(({ text }) => text).join('');
  return typeof thinking === 'string' ? thinking : '';
}
