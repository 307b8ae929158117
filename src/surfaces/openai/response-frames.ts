import type { CodedError } from '../../ground/errors/coded-error.ts';
import type { Countersigned } from './answer-document.ts';
import { openAiError } from './openai-error.ts';
import {
  messageId,
  reasoningId,
  textPart,
  type FunctionCall,
  type OutputItem,
  type ReasoningItem,
  type ResponseDocument,
  type ResponseMessage,
} from './response-document.ts';
import type { Surface } from './response-request.ts';

/**
 * The numbered frames of one streamed response. A caller who comes back names the last number that it has
 * seen: frames up to there are counted and come as "".
 */
export class ResponseFrames {
  readonly #begun: ResponseDocument;
  readonly #startingAfter: number;
  readonly #item: { readonly output_index: number; readonly item_id: string };
  /** The item of what the model reasoned, where it is shown. */
  readonly #reasoning: ReasoningItem | undefined;
  #number = -1;
  #isOpen = false;
  #isInProgress = false;

  constructor(
    job: string,
    begun: ResponseDocument,
    startingAfter: number,
    { reasoning: isShown }: Pick<Surface, 'reasoning'>,
  ) {
    this.#begun = begun;
    this.#startingAfter = startingAfter;
    this.#item = { output_index: isShown ? 1 : 0, item_id: messageId(job) };
    this.#reasoning = isShown
      ? { id: reasoningId(job), type: 'reasoning', status: 'in_progress', summary: [] }
      : undefined;
  }

  created(): string {
    return this.#frame('response.created', { response: this.#begun });
  }

  /** A piece of text; where its own frame is to say how far it is to be trusted, with that. */
  delta(text: string, countersign?: Countersigned): string {
    const mark = countersign === undefined ? {} : { countersign };
    const data = { ...this.#place, delta: text, logprobs: [], ...mark };
    return this.#open() + this.#frame('response.output_text.delta', data);
  }

  /** The items of the whole answer, once it is confirmed. */
  whole(items: readonly OutputItem[]): string {
    return items
      .map((item, index) => {
        switch (item.type) {
          case 'reasoning':
            return this.#thought(item);
          case 'message':
            return this.#wholeText(item.content.map(({ text }) => text).join(''));
          case 'function_call':
            return this.#call(item, index);
        }
      })
      .join('');
  }

  /** What the model reasoned comes with the end, in one piece. */
  #thought(item: ReasoningItem): string {
    const place = { output_index: 0, item_id: item.id, summary_index: 0 };
    const parts = item.summary.map(
      (part) =>
        this.#frame('response.reasoning_summary_part.added', { ...place, part: { ...part, text: '' } }) +
        this.#frame('response.reasoning_summary_text.delta', { ...place, delta: part.text }) +
        this.#frame('response.reasoning_summary_text.done', { ...place, text: part.text }) +
        this.#frame('response.reasoning_summary_part.done', { ...place, part }),
    );
    return this.#progress() + parts.join('') + this.#frame('response.output_item.done', { output_index: 0, item });
  }

  #wholeText(text: string): string {
    return (
      this.#open() +
      this.#frame('response.output_text.done', { ...this.#place, text, logprobs: [] }) +
      this.#frame('response.content_part.done', { ...this.#place, part: textPart(text) }) +
      this.#frame('response.output_item.done', this.#message('completed', [textPart(text)]))
    );
  }

  /** The last frame: the response is final. */
  ended(response: ResponseDocument): string {
    return this.#lastFrame(`response.${response.status}`, { response });
  }

  /** The last frame where the answer was refuted or the stream failed. */
  error(error: CodedError): string {
    const document = openAiError(error);
    const { code, message } = document.error;
    return this.#lastFrame('error', { ...document, code, message, param: null });
  }

  /** A call, whose arguments come in one piece. */
  #call(call: FunctionCall, index: number): string {
    const place = { output_index: index, item_id: call.id };
    const begun: FunctionCall = { ...call, arguments: '', status: 'in_progress' };
    return (
      this.#progress() +
      this.#frame('response.output_item.added', { output_index: index, item: begun }) +
      this.#frame('response.function_call_arguments.delta', { ...place, delta: call.arguments }) +
      this.#frame('response.function_call_arguments.done', { ...place, name: call.name, arguments: call.arguments }) +
      this.#frame('response.output_item.done', { output_index: index, item: call })
    );
  }

  /** What comes before the first piece of any item, once. */
  #progress(): string {
    if (this.#isInProgress) return '';
    this.#isInProgress = true;
    const reasoning = this.#reasoning;
    return (
      this.#frame('response.in_progress', { response: { ...this.#begun, status: 'in_progress' } }) +
      (reasoning === undefined ? '' : this.#frame('response.output_item.added', { output_index: 0, item: reasoning }))
    );
  }

  /** What comes before the first piece of text, once. */
  #open(): string {
    if (this.#isOpen) return '';
    this.#isOpen = true;
    return (
      this.#progress() +
      this.#frame('response.output_item.added', this.#message('in_progress', [])) +
      this.#frame('response.content_part.added', { ...this.#place, part: textPart('') })
    );
  }

  get #place() {
    return { ...this.#item, content_index: 0 };
  }

  #message(status: ResponseMessage['status'], content: ResponseMessage['content']) {
    const item: ResponseMessage = { id: this.#item.item_id, type: 'message', role: 'assistant', status, content };
    return { output_index: this.#item.output_index, item };
  }

  #frame(type: string, data: object): string {
    this.#number += 1;
    return this.#number > this.#startingAfter ? this.#format(type, data) : '';
  }

  /** Its number is beyond all that the caller may have seen, so that it always comes. */
  #lastFrame(type: string, data: object): string {
    this.#number = Math.max(this.#number, this.#startingAfter) + 1;
    return this.#format(type, data);
  }

  #format(type: string, data: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, ...data, sequence_number: this.#number })}\n\n`;
  }
}
