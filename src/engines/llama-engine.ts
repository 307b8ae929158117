import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { LlamaContext, LlamaModel, Token } from 'node-llama-cpp';
import { CodedError, messageOf } from '../errors/coded-error.ts';
import { INPUTS, type ChatInput } from '../jobs/task-input.ts';
import { EngineError, type Engine, type EngineResult, type Work } from './engine.ts';
import { packageIdentity } from './package-digest.ts';

/**
 * Any GGUF file, in this process, through node-llama-cpp. Threads are set explicitly: the default can be a
 * thousand times slower on a small busy machine. One sequence of the context runs one job; sequences are not shared,
 * so that the answer to a ticket depends on nothing but the ticket.
 */
export class LlamaEngine implements Engine {
  readonly identity;
  readonly model;
  readonly parallel: number;
  readonly repeatable = 'exact' as const;
  readonly #model: LlamaModel;
  readonly #context: LlamaContext;
  readonly #contextTokens: number;
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

  countTokens(text: string): number {
    return this.#model.tokenize(text).length;
  }

  async *run(work: Work, input: unknown, signal: AbortSignal): AsyncGenerator<string, EngineResult> {
    const prompt = promptOf(work, input);
    const tokens = this.#model.tokenize(prompt);
    const room = this.#contextTokens - tokens.length;
    if (room < 1) {
      throw new EngineError(
        'engine_refused',
        `The prompt has ${tokens.length} tokens and the model takes ${this.#contextTokens} with the answer.`,
      );
    }
    await this.#acquire(signal);
    try {
      return yield* this.#generate(work, tokens, Math.min(work.params.max_tokens, room), signal);
    } finally {
      this.#release();
    }
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
    const { temperature, top_p: topP, seed, stop } = work.params;
    const sequence = this.#context.getSequence();
    const produced: Token[] = [];
    let text = '';
    let finishReason: EngineResult['finishReason'] = 'length';
    try {
      const evaluation = sequence.evaluate(prompt, { temperature, topP, topK: 0, minP: 0, seed, yieldEogToken: true });
      for await (const token of evaluation) {
        signal.throwIfAborted();
        if (this.#model.isEogToken(token)) {
          finishReason = 'stop';
          break;
        }
        produced.push(token);
        const next = this.#model.detokenize(produced, false, prompt.slice(-8));
        const cut = stopAt(next, stop);
        const piece = next.slice(text.length, cut ?? next.length);
        // A character that is not whole yet shows as U+FFFD; it is kept back until it is.
        if (cut === undefined && piece.endsWith('\uFFFD') && produced.length < maxTokens) continue;
        text = cut === undefined ? next : next.slice(0, cut);
        if (piece !== '') yield piece;
        if (cut !== undefined) {
          finishReason = 'stop';
          break;
        }
        if (produced.length >= maxTokens) break;
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw new EngineError('engine_error', `llama.cpp failed: ${messageOf(cause).slice(0, 200)}`, { cause });
    } finally {
      void sequence.dispose();
    }
    const output =
      work.task === 'chat'
        ? { message: { role: 'assistant', content: text }, finish_reason: finishReason }
        : { text, finish_reason: finishReason };
    return {
      output: JSON.stringify(output),
      usage: { inputTokens: prompt.length, outputTokens: produced.length },
      finishReason,
    };
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

/** The prompt text of a job. The demonstration model knows no chat template; turns are written out plainly. */
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
  return `${messages.map(({ role, content }) => `${role}: ${content}`).join('\n')}\nassistant:`;
}

function stopAt(text: string, stops: readonly string[]): number | undefined {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? undefined : Math.min(...found);
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
