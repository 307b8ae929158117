import { z } from 'zod';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { CodedError, messageOf, systemCodeOf } from '../../ground/errors/coded-error.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { FEATURES, INPUTS, type ChatInput } from '../../proof/tasks/task-input.ts';
import { EngineError, type Engine, type EngineResult, type Work } from './engine.ts';
import { ENTRY_FIELDS, defineEngine } from './engine-kind.ts';
import { InferenceServer, serverSentData } from './inference-server.ts';
import { ServerAnswer, ServerUsage } from './server-answer.ts';
import { replayOnServer } from './server-replay.ts';

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

const Embeddings = z.object({
  data: z.array(z.object({ index: z.number().int().min(0).nullish(), embedding: z.array(z.number()) })),
  usage: ServerUsage.nullish(),
});
/** A server answers these about its operator: a wrong address, a wrong key, a key without the right. */
const OPERATORS_FAULT: ReadonlySet<number> = new Set([401, 403, 404]);

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
  readonly #server: InferenceServer;

  private constructor(options: OpenAiOptions, server: InferenceServer, served: string) {
    this.identity = { name: 'openai', version: '1', sha256: sha256Hex(served) };
    this.model = { name: options.name, sha256: options.sha256, measured: false };
    this.parallel = options.parallel;
    this.#options = options;
    this.#server = server;
    const { endTokens, remoteModel } = options;
    if (endTokens !== undefined)
      this.replay = (work, input, tokens, signal) =>
        replayOnServer({ server, model: remoteModel, endTokens }, { work, input, tokens }, signal);
  }

  /**
   * Asks the server for its models, so that a wrong address or model is found before the first job. Throws
   * EngineError where the server refuses, and CodedError `engine_away` where it does not answer.
   */
  static async connect(options: OpenAiOptions): Promise<OpenAiEngine> {
    const apiKey = options.apiKeyFile === undefined ? undefined : readSecretFile(options.apiKeyFile);
    const server = new InferenceServer(options.baseUrl, apiKey);
    const timeout = AbortSignal.timeout(Math.min(options.timeoutMs, 10_000));
    const response = await server.ask('/v1/models', undefined, timeout).catch((cause: unknown) => {
      throw away(options, cause);
    });
    if (OPERATORS_FAULT.has(response.status)) {
      await response.body?.cancel();
      throw new EngineError(
        'engine_refused',
        `The server answered ${response.status} when it was asked for its models.`,
      );
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw away(options, new Error(`it answered ${response.status}`));
    }
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
    const served = JSON.stringify([options.remoteModel, response.headers.get('server') ?? '']);
    return new OpenAiEngine(options, server, served);
  }

  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs);
    const either = AbortSignal.any([signal, timeout]);
    try {
      return work.task === 'embedding' ? await this.#embed(input, either) : yield* this.#generate(work, input, either);
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof EngineError) throw cause;
      this.#server.lost();
      const what = timeout.aborted
        ? `did not answer within ${this.#options.timeoutMs} ms`
        : `broke off: ${messageOf(cause).slice(0, 150)}`;
      throw new EngineError('engine_error', `The inference server ${what}.`, { cause });
    }
  }

  async probe(signal: AbortSignal): Promise<void> {
    if (this.#server.wasSeenJustNow) return;
    try {
      const response = await this.#server.send('/v1/models', undefined, signal);
      await response.body?.cancel();
    } catch (cause) {
      throw away(this.#options, cause);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async *#generate(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const chat = work.task === 'chat' ? INPUTS.chat.parse(input) : undefined;
    const path = chat === undefined ? '/v1/completions' : '/v1/chat/completions';
    const asked = chat === undefined ? INPUTS.completion.parse(input) : serverChat(chat);
    const response = await this.#server.send(path, this.#bodyOf(work, asked), signal);
    const answer = new ServerAnswer(chat !== undefined);
    for await (const data of serverSentData(response)) {
      // What has arrived already must not be handed on after a cancel.
      signal.throwIfAborted();
      if (data === '[DONE]') break;
      const piece = answer.add(data);
      if (piece !== '') yield piece;
    }
    return answer.result({
      reasoning: chat?.reasoning?.show === true,
      tokens: this.#options.endTokens !== undefined,
    });
  }

  #bodyOf(work: Work, asked: object): object {
    const { max_tokens, temperature, top_p, seed, stop } = work.params;
    return {
      model: this.#options.remoteModel,
      ...asked,
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

  async #embed(input: unknown, signal: AbortSignal): Promise<EngineResult> {
    const { texts } = INPUTS.embedding.parse(input);
    const body = { model: this.#options.remoteModel, input: texts };
    const response = await this.#server.send('/v1/embeddings', body, signal);
    const parsed = Embeddings.safeParse(await response.json());
    const places = new Map(parsed.data?.data.map(({ index, embedding }, at) => [index ?? at, embedding]));
    const embeddings = texts.flatMap((_, at) => [places.get(at) ?? []]);
    if (!parsed.success || parsed.data.data.length !== texts.length || embeddings.some(({ length }) => length === 0))
      throw new EngineError('engine_error', 'The inference server sent embeddings of another shape.');
    return {
      output: JSON.stringify({ embeddings }),
      usage: { inputTokens: parsed.data.usage?.prompt_tokens ?? 0, outputTokens: 0 },
      finishReason: 'none',
    };
  }
}

/** A chat as servers take it: how much a model is to reason has a member of its own there. */
function serverChat({ reasoning, ...chat }: ChatInput): object {
  return { ...chat, ...(reasoning?.effort === undefined ? {} : { reasoning_effort: reasoning.effort }) };
}

function away({ name, baseUrl }: OpenAiOptions, cause: unknown): CodedError {
  const reason = systemCodeOf(cause instanceof Error ? cause.cause : undefined) ?? messageOf(cause);
  return new CodedError('engine_away', `The server of ${name} at ${originOf(baseUrl)} does not answer: ${reason}`, {
    cause,
  });
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
  computesHere: false,
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
