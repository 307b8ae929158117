import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type {
  ControlledEvaluateInputItem,
  LlamaContext,
  LlamaContextSequence,
  LlamaModel,
  Token,
} from 'node-llama-cpp';
import { z } from 'zod';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { INPUTS, OUTPUTS, type ChatInput } from '../../proof/tasks/task-input.ts';
import { EngineError, type Engine, type EngineResult, type Replay, type Work } from './engine.ts';
import type { FinishReason, Usage } from '../../proof/receipts/fields.ts';
import { ENTRY_FIELDS, defineEngine } from './engine-kind.ts';
import { packageIdentity } from './package-digest.ts';
import { SeededDraws } from './seeded-draws.ts';
import { greedyMargin, sampledMargin } from './token-margins.ts';
import { Transcript } from './transcript.ts';

/** Tokens between two looks at the signal: what llama.cpp evaluates at once by default. */
const PIECE_TOKENS = 512;

/**
 * Any GGUF file, in this process, through node-llama-cpp. Threads are set explicitly: the default can be a
 * thousand times slower on a small busy machine. One sequence of the context runs one job; sequences are not
 * shared, so that the answer to a ticket depends on nothing but the ticket.
 */
export class LlamaEngine implements Engine {
  readonly identity;
  readonly model;
  readonly parallel: number;
  readonly repeatable = 'exact' as const;
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #contextTokens: number;
  /** Characters of the longest token. */
  readonly #longestToken: number;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  private constructor(
    options: { name: string; sha256: string; parallel: number; contextTokens: number },
    model: LlamaModel,
    context: LlamaContext,
  ) {
    const { version, sha256 } = packageIdentity('node-llama-cpp');
    this.identity = { name: 'llama', version, sha256 };
    this.model = { name: options.name, sha256: options.sha256, measured: true };
    this.parallel = options.parallel;
    this.#free = options.parallel;
    this.#model = model;
    this.#context = context;
    this.#contextTokens = options.contextTokens;
    const { tokens } = model.fileInfo.metadata.tokenizer.ggml;
    this.#longestToken = tokens.reduce((most, token) => Math.max(most, token.length), 1);
  }

  /** Loads the file after checking its digest. Throws CodedError `model_file_unfit`. */
  static async load(options: {
    name: string;
    sha256: string;
    file: string;
    contextTokens: number;
    parallel: number;
    threads: number;
    gpu: boolean;
  }): Promise<LlamaEngine> {
    const found = await fileDigest(options.file);
    if (found !== options.sha256) {
      throw new CodedError(
        'model_file_unfit',
        `${options.file} has the digest ${found}, and the catalog says ${options.sha256} for ${options.name}.`,
      );
    }
    const { getLlama } = await import('node-llama-cpp');
    const llama = await getLlama({
      gpu: options.gpu ? 'auto' : false,
      build: 'never',
      progressLogs: false,
      logger: () => undefined,
    });
    const model = await llama.loadModel({ modelPath: options.file });
    const context = await model.createContext({
      threads: options.threads,
      contextSize: options.contextTokens,
      sequences: options.parallel,
      // Another job in the same batch must not change the rounding of this one.
      batching: { dispatchSchedule: 'nextCycle' },
    });
    return new LlamaEngine(options, model, context);
  }

  recount(work: Work, input: unknown, output: string): Usage {
    const answer: unknown = JSON.parse(output);
    const text =
      work.task === 'chat' ? (OUTPUTS.chat.parse(answer).message.content ?? '') : OUTPUTS.completion.parse(answer).text;
    return {
      inputTokens: this.#model.tokenize(promptOf(work, input)).length,
      outputTokens: this.#model.tokenize(text).length,
    };
  }

  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const prompt = promptOf(work, input);
    // What cannot fit is not even counted: a tokenizer reads a long text in one piece.
    if (prompt.length > this.#contextTokens * this.#longestToken) throw this.#tooLong(`over ${this.#contextTokens}`);
    const tokens = this.#model.tokenize(prompt);
    const room = this.#contextTokens - tokens.length;
    if (room < 1) throw this.#tooLong(String(tokens.length));
    await this.#acquire(signal);
    try {
      return yield* this.#generate(work, tokens, Math.min(work.params.max_tokens, room), signal);
    } finally {
      this.#release();
    }
  }

  #tooLong(count: string): EngineError {
    return new EngineError(
      'context_exceeded',
      `The prompt has ${count} tokens and the model takes ${this.#contextTokens} with the answer.`,
    );
  }

  async close(): Promise<void> {
    await this.#context.dispose();
    await this.#model.dispose();
  }

  async *#generate(
    work: Work,
    prompt: Token[],
    maxTokens: number,
    signal: AbortSignal,
  ): AsyncGenerator<string, EngineResult> {
    const sequence = this.#context.getSequence();
    const transcript = this.#transcript(work, prompt, maxTokens);
    let isEnded = false;
    try {
      const rest = await this.#readAllButTheLast(prompt, sequence, signal);
      for await (const token of sequence.evaluate(rest, { ...samplingOf(work), yieldEogToken: true })) {
        signal.throwIfAborted();
        isEnded = this.#model.isEogToken(token);
        if (isEnded) break;
        const piece = transcript.push(token);
        if (piece !== '') yield piece;
        if (transcript.finished !== undefined) break;
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw new EngineError('engine_error', `llama.cpp failed: ${messageOf(cause).slice(0, 200)}`, { cause });
    } finally {
      await sequence.dispose();
    }
    return resultOf(work, prompt, transcript, isEnded ? 'stop' : (transcript.finished ?? 'length'));
  }

  /**
   * Has the model read the prompt, piece by piece, up to the last of them, which it returns. A piece is as
   * long as what llama.cpp takes at once, so that the same numbers come of it.
   */
  async #readAllButTheLast(
    prompt: readonly Token[],
    sequence: LlamaContextSequence,
    signal: AbortSignal,
  ): Promise<Token[]> {
    let at = 0;
    for (; at + PIECE_TOKENS < prompt.length; at += PIECE_TOKENS) {
      signal.throwIfAborted();
      await sequence.evaluateWithoutGeneratingNewTokens(prompt.slice(at, at + PIECE_TOKENS));
    }
    signal.throwIfAborted();
    return prompt.slice(at);
  }

  #transcript(work: Work, prompt: readonly Token[], maxTokens: number): Transcript {
    const before = prompt.slice(-8);
    return new Transcript(
      (tokens) => this.#model.detokenize(tokens as readonly Token[], false, before),
      work.params.stop,
      maxTokens,
    );
  }

  /**
   * The method `tokens` (Token-DiFR, margins in logits): one pass over prompt and answer finds where the
   * sampler would have drawn something else, and a second one measures by how much, at those places only.
   */
  async replay(work: Work, input: unknown, tokens: readonly number[], signal: AbortSignal): Promise<Replay> {
    const prompt = this.#model.tokenize(promptOf(work, input));
    const room = this.#contextTokens - prompt.length;
    const maxTokens = Math.min(work.params.max_tokens, room);
    if (room < 1 || tokens.length > maxTokens || tokens.some((token) => !this.#isToken(token)))
      return {
        result: resultOf(work, prompt, this.#transcript(work, prompt, 1), 'length'),
        isWhole: false,
        margins: [],
      };
    const transcript = this.#transcript(work, prompt, maxTokens);
    let isOverrun = false;
    for (const token of tokens) {
      isOverrun ||= transcript.finished !== undefined || this.#model.isEogToken(token as Token);
      transcript.push(token);
    }
    await this.#acquire(signal);
    try {
      const claimed = [...tokens] as Token[];
      const isEnded = transcript.finished === undefined;
      const drawn = await this.#pass(work, prompt, isEnded ? claimed : claimed.slice(0, -1), undefined, signal);
      const last = drawn[claimed.length]?.next.token;
      // The answer that goes on no further, without a stop text and below its length, must end because the
      // model ended it.
      if (isEnded) claimed.push(last != null && this.#model.isEogToken(last) ? last : this.#endToken());
      const missed = claimed.flatMap((token, at) => (drawn[at]?.next.token === token ? [] : [at]));
      const measured =
        missed.length === 0 ? [] : await this.#pass(work, prompt, claimed.slice(0, -1), new Set(missed), signal);
      const draws = new SeededDraws(work.params.seed);
      const margins = claimed.map((token, at) => {
        const draw = draws.next();
        const probabilities = measured[at]?.next.probabilities;
        if (probabilities === undefined) return 0;
        return work.params.temperature === 0
          ? greedyMargin(probabilities, token)
          : work.params.temperature * sampledMargin(probabilities, token, draw);
      });
      return {
        result: resultOf(work, prompt, transcript, transcript.finished ?? 'stop'),
        isWhole: !isOverrun,
        margins,
      };
    } catch (cause) {
      signal.throwIfAborted();
      throw new EngineError('engine_error', `llama.cpp failed: ${messageOf(cause).slice(0, 200)}`, { cause });
    } finally {
      this.#release();
    }
  }

  /**
   * For each place of the answer up to the one after these tokens: the token that the sampler draws, or all
   * probabilities where wanted. It stops after the piece in which the signal is aborted.
   */
  async #pass(
    work: Work,
    prompt: readonly Token[],
    before: readonly Token[],
    wanted: ReadonlySet<number> | undefined,
    signal: AbortSignal,
  ) {
    const options = samplingOf(work);
    const generateNext = wanted === undefined ? { token: true, options } : { probabilities: true, options };
    const sequence = this.#context.getSequence();
    try {
      const all = [...prompt, ...before].map((token, index): ControlledEvaluateInputItem => {
        const at = index - prompt.length + 1;
        return at < 0 || (wanted !== undefined && !wanted.has(at)) ? token : [token, { generateNext }];
      });
      const found: Awaited<ReturnType<LlamaContextSequence['controlledEvaluate']>> = [];
      for (let at = 0; at < all.length; at += PIECE_TOKENS) {
        signal.throwIfAborted();
        found.push(...(await sequence.controlledEvaluate(all.slice(at, at + PIECE_TOKENS))));
      }
      return found.slice(prompt.length - 1);
    } finally {
      await sequence.dispose();
    }
  }

  #isToken(token: number): boolean {
    return Number.isInteger(token) && token >= 0 && token < this.#model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  }

  #endToken(): Token {
    const end = this.#model.tokens.eos ?? this.#model.tokens.eot;
    if (end === null) throw new Error('the model has no token that ends an answer');
    return end;
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (signal.aborted) {
      this.#release();
      signal.throwIfAborted();
    }
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

/**
 * The prompt text of a job. The demonstration model knows no chat template; turns are written out plainly.
 */
function promptOf(work: Work, input: unknown): string {
  switch (work.task) {
    case 'completion':
      return INPUTS.completion.parse(input).prompt;
    case 'chat':
      return chatPrompt(INPUTS.chat.parse(input));
    case 'embedding':
      throw new EngineError('engine_refused', 'This model writes text; it does not embed.');
  }
}

function chatPrompt({ messages }: ChatInput): string {
  return `${messages.map(({ role, content }) => `${role}: ${content ?? ''}`).join('\n')}\nassistant:`;
}

function samplingOf({ params }: Work) {
  return { temperature: params.temperature, topP: params.top_p, topK: 0, minP: 0, seed: params.seed } as const;
}

function resultOf(
  work: Work,
  prompt: readonly Token[],
  { text, tokens }: Transcript,
  finishReason: FinishReason,
): EngineResult {
  const output =
    work.task === 'chat'
      ? { message: { role: 'assistant', content: text }, finish_reason: finishReason }
      : { text, finish_reason: finishReason };
  return {
    output: JSON.stringify(output),
    usage: { inputTokens: prompt.length, outputTokens: tokens.length },
    finishReason,
    tokens,
  };
}

async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  } catch (cause) {
    throw new CodedError('model_file_unfit', `The model file ${path} cannot be read.`, { cause });
  }
  return hash.digest('hex');
}

export const llama = defineEngine({
  name: 'llama',
  schema: z.strictObject({
    ...ENTRY_FIELDS,
    engine: z.literal('llama'),
    /** GGUF file; relative to the catalog. */
    file: z.string().min(1),
    contextTokens: z.number().int().min(16).max(1_048_576).default(256),
    parallel: z.number().int().min(1).max(64).default(4),
    threads: z.number().int().min(1).max(256).default(1),
    gpu: z.boolean().default(false),
  }),
  computesHere: true,
  capabilities: ({ parallel }) => ({
    repeats: 'exact',
    measuresWeights: true,
    features: [],
    parallel,
    replay: { measure: 'margin', maxTemperature: 2 },
  }),
  load: (entry) => LlamaEngine.load(entry),
  located: (entry, at) => ({ ...entry, file: at(entry.file) }),
  // What honest workers differ in must not count against them. Several threads of a small model are slow on a
  // busy machine, so that few answers are made with them.
  conditions: (entry) =>
    [
      { threads: 1, parallel: 1, parts: 11 },
      { threads: 1, parallel: 4, parts: 12 },
      { threads: 2, parallel: 1, parts: 1 },
    ].map(({ threads, parallel, parts }) => ({
      words: `threads ${threads}, ${parallel} at once`,
      parts,
      model: { ...entry, threads, parallel },
    })),
});
