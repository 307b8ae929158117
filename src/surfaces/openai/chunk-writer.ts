import type { CodedError } from '../../ground/errors/coded-error.ts';
import { OUTPUTS } from '../../proof/tasks/task-input.ts';
import type { ChunkChoice, CompletionChunk, Countersigned } from './answer-document.ts';
import { answerId, countersigned, seconds, tierIn, usageOf, type Done } from './answers.ts';
import { openAiError } from './openai-error.ts';
import type { Asked } from './requests.ts';

type ChatChoice = Extract<ChunkChoice, { delta: object }>;
type TextChoice = Extract<ChunkChoice, { text: string }>;
/** What stands in a frame beside its choice. */
type Rest = Pick<CompletionChunk, 'usage' | 'countersign'>;

/** The frames of one streamed answer, as OpenAI's clients read them. */
export class ChunkWriter {
  readonly #asked: Pick<Asked, 'endpoint' | 'model' | 'includeUsage' | 'choicesPerPrompt' | 'tier'>;
  readonly #firstJob: string;
  readonly #created = seconds(Date.now());

  constructor(
    asked: Pick<Asked, 'endpoint' | 'model' | 'includeUsage' | 'choicesPerPrompt' | 'tier'>,
    firstJob: string,
  ) {
    this.#asked = asked;
    this.#firstJob = firstJob;
  }

  /**
   * A chat begins by naming the role and what is known of the job; a completion begins with its text and has
   * no such frame.
   */
  opening(index: number, countersign: Countersigned): string | undefined {
    if (!this.#isChat) return undefined;
    const delta = { role: 'assistant', content: '' } as const;
    return this.#chat([{ index, delta, logprobs: null, finish_reason: null }], { countersign });
  }

  /** A piece of text; where its own frame is to say how far it is to be trusted, with that. */
  piece(index: number, text: string, countersign?: Countersigned): string {
    const rest = countersign === undefined ? {} : { countersign };
    return this.#isChat
      ? this.#chat([{ index, delta: { content: text }, logprobs: null, finish_reason: null }], rest)
      : this.#text([{ index, text, logprobs: null, finish_reason: null }], rest);
  }

  /** The last frame of a choice, after the verdict. */
  last(index: number, done: Done): string {
    const { output } = done;
    const countersign = countersigned(done, 'done');
    if (!this.#isChat) {
      const { finish_reason } = OUTPUTS.completion.parse(output);
      return this.#text([{ index, text: '', logprobs: null, finish_reason }], { countersign });
    }
    const { message, finish_reason, logprobs } = OUTPUTS.chat.parse(output);
    const calls = message.tool_calls?.map((call, at) => ({ index: at, ...call }));
    const { reasoning_content } = message;
    const delta = {
      ...(reasoning_content === undefined ? {} : { reasoning_content }),
      ...(calls === undefined ? {} : { tool_calls: calls }),
    };
    return this.#chat([{ index, delta, logprobs: logprobs ?? null, finish_reason }], { countersign });
  }

  /** The usage where it was asked for, and the word that ends the stream. */
  end(done: readonly Done[]): string {
    if (!this.#asked.includeUsage) return 'data: [DONE]\n\n';
    const usage = usageOf(this.#asked, done);
    return `${this.#isChat ? this.#chat([], { usage }) : this.#text([], { usage })}data: [DONE]\n\n`;
  }

  error(error: CodedError): string {
    return `data: ${JSON.stringify({ ...openAiError(error), countersign: countersigned({ id: this.#firstJob }, 'unconfirmed') })}\n\n`;
  }

  get #isChat(): boolean {
    return this.#asked.endpoint === '/v1/chat/completions';
  }

  get #head() {
    const { model, includeUsage } = this.#asked;
    const id = answerId(this.#asked, this.#firstJob);
    return { id, created: this.#created, model, ...tierIn(this.#asked), ...(includeUsage ? { usage: null } : {}) };
  }

  #chat(choices: ChatChoice[], rest: Rest = {}): string {
    return frame({ object: 'chat.completion.chunk', ...this.#head, choices, ...rest });
  }

  #text(choices: TextChoice[], rest: Rest = {}): string {
    return frame({ object: 'text_completion', ...this.#head, choices, ...rest });
  }
}

function frame(chunk: CompletionChunk): string {
  return `data: ${JSON.stringify(chunk)}\n\n`;
}
