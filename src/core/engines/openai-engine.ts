import { z } from 'zod';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import type { Secret } from '../../ground/config/secret.ts';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { FEATURES, INPUTS, MAX_OUTPUT_BYTES } from '../../proof/tasks/task-input.ts';
import { EngineError, type Engine, type EngineResult, type FinishReason, type Replay, type Work } from './engine.ts';
import { ENTRY_FIELDS, defineEngine } from './engine-kind.ts';
import { PromptLogprobs, greedyMargin, isLikelyEnd, surprise } from './prompt-logprobs.ts';
import { stopAt } from './transcript.ts';

/** A server that has answered within this time is not asked again whether it is there. */
export const SEEN_MS = 500;

export interface OpenAiOptions {
  readonly name: string;
  readonly sha256: string;
  readonly baseUrl: string;
  readonly remoteModel: string;
  readonly apiKeyFile?: string | undefined;
  readonly timeoutMs: number;
  readonly parallel: number;
  /** Ids of the tokens that end an answer, where the server tells tokens as vLLM does. */
  readonly endTokens?: readonly number[] | undefined;
}

const Usage = z.object({
  prompt_tokens: z.number().int().min(0),
  completion_tokens: z.number().int().min(0).optional(),
});
const Chunk = z.object({
  choices: z
    .array(
      z.object({
        text: z.string().optional(),
        token_ids: z.array(z.number().int().min(0)).nullish(),
        delta: z
          .object({
            content: z.string().nullish(),
            tool_calls: z
              .array(
                z.object({
                  index: z.number().int().min(0).max(127),
                  id: z.string().nullish(),
                  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
                }),
              )
              .nullish(),
          })
          .optional(),
        logprobs: z
          .object({ content: z.array(z.looseObject({ token: z.string(), logprob: z.number() })).nullish() })
          .nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .default([]),
  usage: Usage.nullish(),
  error: z.object({ message: z.string() }).optional(),
});
const Embeddings = z.object({
  data: z.array(z.object({ index: z.number().int().min(0), embedding: z.array(z.number()) })),
  usage: Usage.optional(),
});

/**
 * Any server that speaks the OpenAI API: vLLM, SGLang, llama.cpp's server, Ollama. The weights are behind it,
 * so their digest is what the operator declared and not measured; the evidence and the receipt say so.
 * Cancelling closes the connection, which is how these servers are told to stop.
 */
export class OpenAiEngine implements Engine {
  readonly identity;
  readonly model;
  readonly parallel: number;
  readonly repeatable = 'no' as const;
  /** There where the server tells tokens. */
  readonly replay?: NonNullable<Engine['replay']>;
  readonly #options: OpenAiOptions;
  readonly #apiKey: Secret | undefined;
  /** When (ms of this process) the server last showed that it is there. */
  #seenMs = -Infinity;

  private constructor(options: OpenAiOptions, served: string) {
    this.identity = { name: 'openai', version: '1', sha256: sha256Hex(served) };
    this.model = { name: options.name, sha256: options.sha256, measured: false };
    this.parallel = options.parallel;
    this.#options = options;
    const { endTokens } = options;
    if (endTokens !== undefined)
      this.replay = (work, input, tokens, signal) => this.#replay(work, input, tokens, endTokens, signal);
    this.#apiKey = options.apiKeyFile === undefined ? undefined : readSecretFile(options.apiKeyFile);
  }

  /**
   * Asks the server for its models, so that a wrong address or model is found before the first job. Throws
   * EngineError where the server refuses, and CodedError `engine_away` where it does not answer.
   */
  static async connect(options: OpenAiOptions): Promise<OpenAiEngine> {
    const engine = new OpenAiEngine(options, options.remoteModel);
    const timeout = AbortSignal.timeout(Math.min(options.timeoutMs, 10_000));
    const response = await engine.#send('/v1/models', undefined, timeout).catch((cause: unknown) => {
      if (cause instanceof EngineError && cause.code === 'engine_refused') throw cause;
      throw engine.#away(cause);
    });
    const body = z
      .object({ data: z.array(z.object({ id: z.string() })) })
      .safeParse(await response.json().catch(() => undefined));
    const models = body.success ? body.data.data.map((model) => model.id) : [];
    if (!models.includes(options.remoteModel)) {
      throw new EngineError(
        'engine_refused',
        `The server offers ${models.slice(0, 5).join(', ') || 'no models'} and not ${options.remoteModel}.`,
      );
    }
    return new OpenAiEngine(options, JSON.stringify([options.remoteModel, response.headers.get('server') ?? '']));
  }

  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    const either = AbortSignal.any([signal, timeout]);
    try {
      return work.task === 'embedding' ? await this.#embed(input, either) : yield* this.#generate(work, input, either);
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof EngineError) throw cause;
      this.#seenMs = -Infinity;
      const what = timeout.aborted
        ? `did not answer within ${this.#options.timeoutMs} ms`
        : `broke off: ${messageOf(cause).slice(0, 150)}`;
      throw new EngineError('engine_error', `The inference server ${what}.`, { cause });
    }
  }

  async probe(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#seenMs < SEEN_MS) return;
    try {
      const response = await this.#send('/v1/models', undefined, signal);
      await response.body?.cancel();
    } catch (cause) {
      throw this.#away(cause);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #away(cause: unknown): CodedError {
    const { name, baseUrl } = this.#options;
    const reason = systemCodeOf(cause instanceof Error ? cause.cause : undefined) ?? messageOf(cause);
    return new CodedError('engine_away', `The server of ${name} at ${originOf(baseUrl)} does not answer: ${reason}`, {
      cause,
    });
  }

  async *#generate(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const chat = work.task === 'chat';
    const path = chat ? '/v1/chat/completions' : '/v1/completions';
    const response = await this.#send(path, this.#bodyOf(work, input), signal);
    let text = '';
    let pieces = 0;
    let finish: string | undefined;
    const toolCalls: ToolCall[] = [];
    const logprobs: object[] = [];
    const tokens: number[] = [];
    let usage: z.infer<typeof Usage> | undefined;
    for await (const data of serverSentData(response)) {
      // What has arrived already must not be handed on after a cancel.
      signal.throwIfAborted();
      if (data === '[DONE]') break;
      const chunk = Chunk.safeParse(JSON.parse(data));
      if (!chunk.success) throw new EngineError('engine_error', 'The inference server sent a chunk of another shape.');
      if (chunk.data.error)
        throw new EngineError('engine_error', `The inference server failed: ${chunk.data.error.message.slice(0, 150)}`);
      usage = chunk.data.usage ?? usage;
      const [choice] = chunk.data.choices;
      finish = choice?.finish_reason ?? finish;
      for (const call of choice?.delta?.tool_calls ?? []) mergeToolCall(toolCalls, call);
      logprobs.push(...(choice?.logprobs?.content ?? []));
      tokens.push(...(choice?.token_ids ?? []));
      const piece = (chat ? choice?.delta?.content : choice?.text) ?? '';
      if (piece === '') continue;
      text += piece;
      pieces += 1;
      if (text.length > MAX_OUTPUT_BYTES)
        throw new EngineError('engine_refused', 'The answer is longer than an output may be.');
      yield piece;
    }
    if (finish === undefined)
      throw new EngineError('engine_error', 'The inference server ended the stream before the answer was whole.');
    const finishReason: FinishReason = finish === 'length' ? 'length' : toolCalls.length > 0 ? 'tool_calls' : 'stop';
    const output = chat ? chatOutput(text, toolCalls, logprobs, finishReason) : { text, finish_reason: finishReason };
    return {
      output: JSON.stringify(output),
      usage: { inputTokens: usage?.prompt_tokens ?? 0, outputTokens: usage?.completion_tokens ?? pieces },
      finishReason,
      ...(this.#options.endTokens === undefined ? {} : { tokens }),
    };
  }

  #bodyOf(work: Work, input: unknown): object {
    const { max_tokens, temperature, top_p, seed, stop } = work.params;
    return {
      model: this.#options.remoteModel,
      ...(work.task === 'chat' ? INPUTS.chat.parse(input) : INPUTS.completion.parse(input)),
      max_tokens,
      temperature,
      top_p,
      seed,
      ...(stop.length > 0 ? { stop } : {}),
      stream: true,
      stream_options: { include_usage: true },
      ...(this.#options.endTokens === undefined ? {} : { return_token_ids: true }),
    };
  }

  /**
   * The method `tokens` on a server that tells the log-probabilities of a prompt. Its sampler is not known,
   * so a drawn token is judged by how surprising it is, and one of temperature 0 by how far it is from the
   * likeliest.
   */
  async #replay(
    work: Work,
    input: unknown,
    tokens: readonly number[],
    endTokens: readonly number[],
    signal: AbortSignal,
  ): Promise<Replay> {
    const server = new PromptLogprobs(this.#options.remoteModel, (path, body, both) => this.#send(path, body, both));
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
        this.#textOf(server, prompt, written, work.params.stop, signal),
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
      if (error instanceof EngineError && error.code === 'engine_refused') return replayOf('', 'length', false, []);
      throw error;
    }
  }

  /**
   * What tokens write after a prompt, up to a stop text. A tokenizer may write the first token of a text
   * otherwise than one that goes on.
   */
  async #textOf(
    server: PromptLogprobs,
    prompt: readonly number[],
    written: readonly number[],
    stops: readonly string[],
    signal: AbortSignal,
  ): Promise<{ text: string; isCut: boolean; isCutEarlier: boolean }> {
    const before = await server.detokenize(prompt, signal);
    const after = async (tokens: readonly number[]) =>
      (await server.detokenize([...prompt, ...tokens], signal)).slice(before.length);
    const whole = await after(written);
    const cut = stopAt(whole, stops);
    if (cut === undefined) return { text: whole, isCut: false, isCutEarlier: false };
    const isCutEarlier = stopAt(await after(written.slice(0, -1)), stops) !== undefined;
    return { text: whole.slice(0, cut), isCut: true, isCutEarlier };
  }

  async #embed(input: unknown, signal: AbortSignal): Promise<EngineResult> {
    const { texts } = INPUTS.embedding.parse(input);
    const response = await this.#send('/v1/embeddings', { model: this.#options.remoteModel, input: texts }, signal);
    const parsed = Embeddings.safeParse(await response.json());
    if (!parsed.success || parsed.data.data.length !== texts.length)
      throw new EngineError('engine_error', 'The inference server sent embeddings of another shape.');
    const embeddings = parsed.data.data.toSorted((a, b) => a.index - b.index).map(({ embedding }) => embedding);
    return {
      output: JSON.stringify({ embeddings }),
      usage: { inputTokens: parsed.data.usage?.prompt_tokens ?? 0, outputTokens: 0 },
      finishReason: 'none',
    };
  }

  /**
   * One request; turns refusals and overload into failures that the job understands. Redirects are not
   * followed.
   */
  async #send(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    const request = {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#apiKey === undefined ? {} : { authorization: `Bearer ${this.#apiKey.reveal().trim()}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal,
    } as const;
    const url = `${this.#options.baseUrl.replace(/\/$/, '')}${path}`;
    // A kept connection that the server had just closed says nothing about the server: once more, on a new
    // one.
    const response = await fetch(url, request).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!isClosedConnection(error)) throw error;
      return fetch(url, request);
    });
    if (response.ok) {
      this.#seenMs = performance.now();
      return response;
    }
    if (response.status >= 500) this.#seenMs = -Infinity;
    const detail = (await response.text().catch(() => '')).slice(0, 150);
    const message = `The inference server answered ${response.status}: ${detail}`;
    if (response.status === 429 || response.status === 503) throw new EngineError('engine_overloaded', message);
    if (response.status >= 500 || response.status === 408) throw new EngineError('engine_error', message);
    throw new EngineError('engine_refused', message);
  }
}

interface ToolCall {
  id: string;
  readonly type: 'function';
  readonly function: { name: string; arguments: string };
}

/** Calls come in pieces, by their place; names and ids whole, arguments a few characters at a time. */
function mergeToolCall(
  calls: ToolCall[],
  piece: {
    index: number;
    id?: string | null | undefined;
    function?: { name?: string | null | undefined; arguments?: string | null | undefined } | null | undefined;
  },
): void {
  while (calls.length <= piece.index)
    calls.push({ id: `call_${calls.length}`, type: 'function', function: { name: '', arguments: '' } });
  const call = calls[piece.index];
  if (call === undefined) return;
  call.id = piece.id ?? call.id;
  call.function.name += piece.function?.name ?? '';
  call.function.arguments += piece.function?.arguments ?? '';
  if (call.function.arguments.length > MAX_OUTPUT_BYTES)
    throw new EngineError('engine_refused', 'The answer is longer than an output may be.');
}

function chatOutput(
  text: string,
  toolCalls: readonly ToolCall[],
  logprobs: readonly object[],
  finishReason: FinishReason,
): object {
  return {
    message:
      toolCalls.length > 0
        ? { role: 'assistant', content: text === '' ? null : text, tool_calls: toolCalls }
        : { role: 'assistant', content: text },
    finish_reason: finishReason,
    ...(logprobs.length > 0 ? { logprobs: { content: logprobs } } : {}),
  };
}

/** As Node's fetch says that the other side closed before it answered. */
function isClosedConnection(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  const code = systemCodeOf(cause);
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

const MAX_LINE = 1_048_576;

/** The data of server-sent events, an event at a time. */
async function* serverSentData(response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  let rest = '';
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    rest += text;
    if (rest.length > MAX_LINE)
      throw new EngineError('engine_error', 'The inference server sent a line without an end.');
    const lines = rest.split(/\r?\n/);
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data:')) yield line.slice(5).trim();
  }
}

const originOf = (url: string) => new URL(url).origin;

export const openAi = defineEngine({
  name: 'openai',
  schema: z.strictObject({
    ...ENTRY_FIELDS,
    engine: z.literal('openai'),
    /** Address of the server up to and without `/v1`. */
    baseUrl: z.url({ protocol: /^https?$/ }),
    remoteModel: z.string().min(1),
    apiKeyFile: z.string().optional(),
    timeoutMs: z.number().int().min(100).max(3_600_000).default(120_000),
    parallel: z.number().int().min(1).max(1_024).default(16),
    /** The attestors' own server of the same model, where both servers tell tokens as vLLM does. */
    replay: z
      .strictObject({
        baseUrl: z.url({ protocol: /^https?$/ }),
        remoteModel: z.string().min(1).optional(),
        apiKeyFile: z.string().optional(),
        /** Ids of the tokens that end an answer. */
        endTokens: z.array(z.number().int().min(0)).min(1).max(16),
      })
      .optional(),
    /** What the server takes beyond text. */
    features: z.array(z.enum(FEATURES)).default([...FEATURES]),
  }),
  // A server that only tells log-probabilities cannot judge what is hotter than they are.
  capabilities: ({ parallel, features, replay }) => ({
    repeats: 'no',
    measuresWeights: false,
    features,
    parallel,
    replay: replay && { measure: 'surprise', maxTemperature: 1 },
  }),
  load: (entry) => OpenAiEngine.connect({ ...entry, endTokens: entry.replay?.endTokens }),
  problem: ({ name, baseUrl, replay }) =>
    replay !== undefined && originOf(replay.baseUrl) === originOf(baseUrl)
      ? `${name} would be judged by the very server that answered; replay.baseUrl must be another.`
      : undefined,
  reference: (entry) => {
    if (entry.replay === undefined) return entry;
    const { baseUrl, remoteModel = entry.remoteModel, apiKeyFile } = entry.replay;
    return { ...entry, baseUrl, remoteModel, apiKeyFile };
  },
});
